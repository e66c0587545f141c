"""What a score adds to the likelihood: identities, and cases by hand."""

import numpy as np
import pytest

from sivgap.gap.auroc import auroc, auroc_by_prompt, auroc_within
from sivgap.gap.rival import rival, rival_table, varied
from sivgap.gap.selection import Selection

ALL = Selection(0.5)


def panel(seed, prompts=60, size=8):
    """Right responses are likelier; prompts differ in difficulty."""
    rng = np.random.default_rng(seed)
    correct = (rng.random((prompts, size)) < rng.random((prompts, 1))).astype(float)
    length = rng.integers(5, 20, correct.shape)
    return correct, length * (2 - correct + rng.gamma(1, 1, correct.shape)), length, rng


def test_a_constant_score_adds_nothing_and_best_of_n_is_the_likeliest():
    correct, nll, length, _ = panel(0)
    found = rival(np.full(correct.shape, 1.0), nll, length, np.ones(correct.shape), correct, ALL)
    assert found.score_gain.value == found.score_gain.stderr == 0
    assert found.verifier_accuracy.value == found.likeliest_accuracy.value > correct.mean() + 0.1  # all of it tie-break
    assert found.score_auroc.value == 0.5
    assert found.score_auroc_within.value == 0.5
    assert found.likelihood_auroc.value == auroc(-nll / length, correct) > 0.7
    assert found.auroc_gain.high < 0
    assert varied(np.full(correct.shape, 1.0)).sum() == 0


def test_the_truth_beats_the_likelihood_and_the_likelihood_itself_ties_with_it():
    correct, nll, length, _ = panel(1)
    truth = rival(correct, nll, length, np.ones(correct.shape), correct, ALL)
    assert truth.score_gain.low > 0
    assert truth.verifier_accuracy.value == correct.any(axis=1).mean()
    same = rival(np.exp(-nll / length), nll, length, np.ones(correct.shape), correct, Selection(quantile=0.25))
    assert (same.score_gain.value, same.auroc_gain.value, same.auroc_gain_within.value) == (0, 0, 0)
    table = rival_table(same).set_index("by")
    assert table.loc["score", "auroc"] == table.loc["likelihood", "auroc"]
    assert table.loc["difference", "best_of_n"] == 0


def test_a_score_that_only_knows_which_prompts_are_easy_ranks_pooled_responses_and_no_prompts_own():
    correct, *_ = panel(2)
    easy = np.broadcast_to(correct.mean(axis=1, keepdims=True), correct.shape)
    assert auroc(easy, correct) > 0.75
    assert auroc_within(easy, correct).value == 0.5
    assert varied(easy).sum() == 0


def test_within_prompts_by_hand_and_none_where_no_prompt_has_both():
    correct = np.array([[1.0, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0]])
    scores = np.array([[0.5, 0.5, 0.1], [0.2, 0.9, 0.4], [1, 0, 0], [0, 1, 1]])
    np.testing.assert_allclose(auroc_by_prompt(scores, correct), [0.75, 0.5, np.nan, np.nan])
    assert auroc_within(scores, correct).value == pytest.approx(0.625)
    assert auroc_within(scores[2:], correct[2:]).value is None
    none = rival(scores[3:], scores[3:] + 1, np.ones((1, 3)), np.ones((1, 3)), correct[3:], ALL)
    assert none.score_auroc.value is none.score_auroc_within.value is none.auroc_gain_within.value is None
