"""The tests behind the paper's tables, on data whose answer is known."""

import numpy as np
import pytest

from sivgap.report.paired import difference, holm
from sivgap.report.spread import spread


def accuracies(rng, seeds: int, prompts: int, effect: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Two settings that differ by `effect`, by noise of training (seed), and by noise of the panel (prompt)."""
    difficulty = rng.uniform(size=prompts)
    trained = rng.normal(0, 0.01, (2, seeds, 1)) + np.array([effect, 0.0])[:, None, None]
    taste = rng.normal(0, 0.1, (2, 1, prompts))
    chance = np.clip(difficulty + trained + taste, 0, 1)
    first, second = rng.binomial(8, chance) / 8
    return first, second


def test_the_interval_of_a_difference_holds_it_and_is_not_wild():
    rng = np.random.default_rng(0)
    inside, wide = [], []
    for _ in range(400):
        found = difference(*accuracies(rng, 3, 300))
        inside.append(found.low <= 0 <= found.high)
        wide.append(found.high - found.low)
    assert 0.88 <= np.mean(inside) <= 0.99
    assert np.median(wide) < 0.08


def test_equivalence_is_found_where_it_is_and_not_where_it_is_not():
    rng = np.random.default_rng(1)
    same = [difference(*accuracies(rng, 5, 2000)).equivalent(0.04) < 0.05 for _ in range(100)]
    apart = [difference(*accuracies(rng, 5, 2000, effect=0.05)).equivalent(0.04) < 0.05 for _ in range(200)]
    assert np.mean(same) > 0.7
    assert np.mean(apart) <= 0.05
    few = difference(*accuracies(rng, 2, 20))
    assert few.p_value > 0.05
    assert few.equivalent(0.02) > 0.05  # not significant, and not equivalent either
    assert few.equivalent(few.margin) == pytest.approx(0.05, abs=1e-6)


def test_equal_settings_differ_by_nothing_and_swapping_changes_the_sign():
    rng = np.random.default_rng(2)
    a, b = accuracies(rng, 3, 50)
    assert difference(a, a).value == 0
    assert difference(a, a).p_value == pytest.approx(1)
    there, back = difference(a, b), difference(b, a)
    assert (there.value, there.low, there.p_value) == pytest.approx((-back.value, -back.high, back.p_value))
    same = spread(np.stack([a, a, a]))
    assert same.value == same.if_equal == 0


def test_equal_settings_lie_as_far_apart_as_is_said_and_no_nearer():
    rng = np.random.default_rng(4)
    found = []
    for _ in range(150):
        difficulty = rng.uniform(size=100)
        trained, taste = rng.normal(0, 0.02, (3, 3, 1)), rng.normal(0, 0.1, (3, 1, 100))
        found.append(spread(rng.binomial(8, np.clip(difficulty + trained + taste, 0, 1)) / 8, draws=400))
    assert np.mean([one.if_equal for one in found]) == pytest.approx(np.mean([one.value for one in found]), rel=0.15)
    assert np.mean([one.p_value <= 0.1 for one in found]) <= 0.12
    single = spread(rng.binomial(8, 0.5, (3, 1, 200)) / 8)
    assert 0 < single.if_equal < 0.05
    assert spread(np.array([[[0.1]], [[0.4]]])).if_equal is None


def test_three_tests_together_are_wrong_as_seldom_as_one():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # Holm's steps, in the order given
    assert holm([0.9, 0.5]) == [1.0, 1.0]
    p_values = np.random.default_rng(5).uniform(size=(2000, 3))
    assert np.mean([min(holm(three)) <= 0.1 for three in p_values]) == pytest.approx(0.1, abs=0.02)


def test_the_papers_sweep_goes_by_its_name(command):
    done = command("train", "-m", "experiment=table2", "n=0")  # wrong, so that nothing starts
    assert done.returncode == 2
    assert "strategy=none seed=0: n:" in done.stderr
