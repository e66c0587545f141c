"""Youden's J: its value on counted tables, and its interval over prompts."""

import numpy as np
import pytest

from sivgap.gap.youden import youden


def test_it_is_the_difference_of_the_two_rates():
    correct = np.array([[1, 1, 0, 0], [1, 0, 0, 0]], dtype=float)
    kept = np.array([[1, 0, 1, 0], [1, 1, 0, 0]], dtype=float)
    assert youden(kept, correct).value == pytest.approx(2 / 3 - 2 / 5)
    assert youden(correct, correct).value == 1
    assert youden(1 - correct, correct).value == -1


def test_without_right_or_without_wrong_responses_there_is_none():
    assert youden(np.ones((3, 2)), np.ones((3, 2))).value is None
    assert youden(np.ones((3, 2)), np.zeros((3, 2))).value is None


def test_its_interval_holds_the_truth_of_a_noisy_verifier_whose_prompts_differ():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(400):
        easy = rng.beta(2, 2, (64, 1))
        correct = (rng.random((64, 8)) < easy).astype(float)
        tpr, fpr = 0.8 + 0.15 * (rng.random((64, 1)) - 0.5), 0.4 + 0.3 * (rng.random((64, 1)) - 0.5)
        kept = (rng.random((64, 8)) < np.where(correct == 1, tpr, fpr)).astype(float)
        found = youden(kept, correct)
        held.append(found.low <= 0.4 <= found.high)
    assert 0.86 <= np.mean(held) <= 0.94
