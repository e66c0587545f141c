import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sivgap.selection import Selection, best_of_n

SHAPE = (5, 4)
unit = st.floats(0, 1)


def test_the_likeliest_per_token_among_those_that_pass_is_chosen():
    scores = np.array([[0.9, 0.5, 0.4], [0.1, 0.2, 0.3]])
    nll = np.array([[6.0, 4.0, 1.0], [3.0, 2.0, 9.0]])
    length = np.array([[4, 2, 1], [1, 1, 9]])
    choice = best_of_n(Selection(0.5).passes(scores), nll, length)
    assert choice.chosen.tolist() == [0, 2]  # 1.5 < 2.0 a token; in row two none passes, so all are kept
    assert choice.passed.tolist() == [True, False]


@given(arrays(float, SHAPE, elements=unit), arrays(float, SHAPE, elements=st.floats(0.1, 50)), unit)
def test_a_chosen_response_passes_if_any_does_and_none_that_passes_is_likelier(scores, nll, threshold):
    length = np.full(SHAPE, 3)
    choice = best_of_n(Selection(threshold).passes(scores), nll, length)
    for p in range(SHAPE[0]):
        kept = scores[p] >= threshold
        assert choice.passed[p] == kept.any()
        pool = nll[p][kept] if kept.any() else nll[p]
        assert nll[p, choice.chosen[p]] == pytest.approx(pool.min())


def test_a_threshold_of_zero_ignores_the_scores():
    rng = np.random.default_rng(0)
    nll = rng.random((20, 8))
    choice = best_of_n(Selection(0).passes(rng.random((20, 8))), nll, np.ones((20, 8), dtype=int))
    assert (choice.chosen == nll.argmin(1)).all()


def test_a_quantile_passes_the_best_share_of_each_prompt_whatever_scores_mean():
    scores = np.array([[0.51, 0.58, 0.55, 0.60], [0.1, 0.2, 0.3, 0.4], [0.7, 0.7, 0.7, 0.1], [0.5, 0.5, 0.5, 0.5]])
    half = Selection(quantile=0.5)
    assert half.passes(scores).tolist() == [
        [False, True, False, True],
        [False, False, True, True],
        [True, True, True, False],  # ties at the boundary pass together
        [True] * 4,  # a constant score says nothing, and the likelihood decides alone
    ]
    assert half.weights(scores).sum(axis=1) == pytest.approx(2)  # as MG's weight: exactly q N


@given(st.integers(1, 64), st.integers(1, 64))
def test_a_quantile_of_scores_without_ties_passes_its_share_rounded_up(kept, size):
    q = min(kept, size) / size
    scores = np.random.default_rng(size).permutation(size)[None] / size
    assert Selection(quantile=q).passes(scores).sum() == min(kept, size)


@pytest.mark.parametrize("rule", [Selection(0.5), Selection(0.1), Selection(quantile=0.75)], ids=lambda rule: rule.name)
def test_a_response_without_a_verdict_passes_by_no_rule_that_reads_scores(rule):
    scores, unparsed = np.array([[0.5, 0.9, 0.5, 0.5]]), np.array([[1.0, 0.0, 0.5, 1.0]])
    assert rule.passes(scores, unparsed).tolist() == [[False, True, True, False]]  # half of the third's were read
    assert not rule.passes(scores, np.ones((1, 4))).any()  # and the prompt falls back


@pytest.mark.parametrize("rule", [Selection(0), Selection(quantile=1)], ids=lambda rule: rule.name)
def test_a_rule_that_ignores_scores_keeps_responses_without_a_verdict(rule):
    assert rule.passes(np.array([[0.0, 0.5]]), np.ones((1, 2))).all()
