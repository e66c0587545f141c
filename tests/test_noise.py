import numpy as np
from scipy.stats import kstest

from sivgap.runtime.rng import derive_key, row_keys, uniforms

PROMPTS = np.array([derive_key(f"problem {i}") for i in range(50)], dtype=np.uint64)


def test_numbers_are_uniform_and_independent_of_their_neighbours():
    drawn = uniforms(row_keys(derive_key(0), PROMPTS, 16), 64)
    assert kstest(drawn.ravel(), "uniform").pvalue > 1e-3
    for axis in range(3):
        ahead, behind = (
            np.take(drawn, range(1, drawn.shape[axis]), axis),
            np.take(drawn, range(drawn.shape[axis] - 1), axis),
        )
        assert abs(np.corrcoef(ahead.ravel(), behind.ravel())[0, 1]) < 0.02


def test_a_number_belongs_to_stream_prompt_sample_and_position_alone():
    whole = uniforms(row_keys(derive_key(7, "train", 3), PROMPTS, 16), 64)
    shuffled = uniforms(row_keys(derive_key(7, "train", 3), PROMPTS[::-1], 4), 10)
    assert (whole[::-1, :4, :10] == shuffled).all()
    other_stream = uniforms(row_keys(derive_key(7, "train", 4), PROMPTS, 16), 64)
    assert not np.isclose(whole, other_stream).any()


def test_keys_do_not_depend_on_the_process():
    assert derive_key(0, "train", 1) == 12335557979222668444  # a change would change every run that was ever made
    assert derive_key("1") != derive_key(1)
