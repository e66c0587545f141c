from itertools import combinations

import numpy as np
import pytest

from sivgap.gap.auroc import auroc
from sivgap.gap.gap import gap
from sivgap.gap.pass_at_k import pass_at_k


@pytest.mark.parametrize("n", [1, 4, 8])
def test_pass_at_k_is_the_average_over_all_subsets(n):
    for c in range(n + 1):
        correct = [True] * c + [False] * (n - c)
        for k in range(1, n + 1):
            subsets = list(combinations(correct, k))
            truth = sum(any(s) for s in subsets) / len(subsets)
            assert pass_at_k(np.array([float(c)]), n, k)[0] == pytest.approx(truth, abs=1e-12)


def test_pass_at_1_is_the_mean_and_pass_at_n_is_any():
    correct = np.random.default_rng(0).random((100, 16)) < 0.3
    c = correct.sum(1).astype(float)
    assert pass_at_k(c, 16, 1).mean() == pytest.approx(correct.mean())
    assert pass_at_k(c, 16, 16) == pytest.approx(correct.any(1).astype(float))


def test_a_constant_filter_has_no_gap_and_a_perfect_one_reaches_pass_at_n():
    correct = (np.random.default_rng(1).random((200, 8)) < 0.4).astype(float)
    assert gap(correct, np.ones_like(correct)).by_prompt == pytest.approx(0)
    perfect = gap(correct, correct).by_prompt
    assert correct.mean() + perfect.mean() == pytest.approx(correct.any(1).mean())


def test_a_prompt_that_keeps_nothing_has_no_gap():
    assert gap(np.array([[1.0, 0.0]]), np.zeros((1, 2))).by_prompt == pytest.approx(0)


def test_auroc_counts_pairs_and_ties_half():
    rng = np.random.default_rng(2)
    scores, correct = rng.integers(0, 4, 60) / 4.0, (rng.random(60) < 0.5).astype(float)
    right, wrong = scores[correct == 1], scores[correct == 0]
    truth = np.mean([(a > b) + 0.5 * (a == b) for a in right for b in wrong])
    assert auroc(scores, correct) == pytest.approx(truth)
    assert auroc(scores, np.ones(60)) is None
