import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sivgap.selection import best_of_n

SHAPE = (5, 4)
unit = st.floats(0, 1)


def test_the_likeliest_per_token_among_those_that_pass_is_chosen():
    scores = np.array([[0.9, 0.5, 0.4], [0.1, 0.2, 0.3]])
    nll = np.array([[6.0, 4.0, 1.0], [3.0, 2.0, 9.0]])
    length = np.array([[4, 2, 1], [1, 1, 9]])
    choice = best_of_n(scores, nll, length, 0.5)
    assert choice.chosen.tolist() == [0, 2]  # 1.5 < 2.0 a token; in row two none passes, so all are kept
    assert choice.passed.tolist() == [True, False]


@given(arrays(float, SHAPE, elements=unit), arrays(float, SHAPE, elements=st.floats(0.1, 50)), unit)
def test_a_chosen_response_passes_if_any_does_and_none_that_passes_is_likelier(scores, nll, threshold):
    length = np.full(SHAPE, 3)
    choice = best_of_n(scores, nll, length, threshold)
    for p in range(SHAPE[0]):
        kept = scores[p] >= threshold
        assert choice.passed[p] == kept.any()
        pool = nll[p][kept] if kept.any() else nll[p]
        assert nll[p, choice.chosen[p]] == pytest.approx(pool.min())


def test_a_threshold_of_zero_ignores_the_scores():
    rng = np.random.default_rng(0)
    nll = rng.random((20, 8))
    choice = best_of_n(rng.random((20, 8)), nll, np.ones((20, 8), dtype=int), 0.0)
    assert (choice.chosen == nll.argmin(1)).all()
