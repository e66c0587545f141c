import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sivgap.gap.selection import Selection

SHAPE = (5, 4)
unit = st.floats(0, 1)


def test_the_likeliest_per_token_among_those_that_pass_is_chosen():
    scores = np.array([[0.9, 0.5, 0.4], [0.1, 0.2, 0.3]])
    nll = np.array([[6.0, 4.0, 1.0], [3.0, 2.0, 9.0]])
    length = np.array([[4, 2, 1], [1, 1, 9]])
    choice = Selection(0.5).choose(scores, nll, length, np.ones(scores.shape))
    assert choice.chosen.tolist() == [0, 2]  # 1.5 < 2.0 a token; in row two none passes, so all are kept
    assert choice.passed.tolist() == [True, False]


@given(arrays(float, SHAPE, elements=unit), arrays(float, SHAPE, elements=st.floats(0.1, 50)), unit)
def test_a_chosen_response_passes_if_any_does_and_none_that_passes_is_likelier(scores, nll, threshold):
    length = np.full(SHAPE, 3)
    choice = Selection(threshold).choose(scores, nll, length, np.ones(SHAPE))
    for p in range(SHAPE[0]):
        kept = scores[p] >= threshold
        assert choice.passed[p] == kept.any()
        pool = nll[p][kept] if kept.any() else nll[p]
        assert nll[p, choice.chosen[p]] == pytest.approx(pool.min())


def test_a_threshold_of_zero_ignores_the_scores():
    rng = np.random.default_rng(0)
    nll = rng.random((20, 8))
    choice = Selection(0).choose(rng.random((20, 8)), nll, np.ones((20, 8), dtype=int), np.ones((20, 8)))
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


@pytest.mark.parametrize("rule", [Selection(0.5), Selection(quantile=0.5)], ids=lambda rule: rule.name)
def test_a_cut_response_is_chosen_only_where_none_ended(rule):
    scores = np.array([[0.9, 0.6, 0.2], [0.9, 0.1, 0.2], [0.9, 0.6, 0.2]])
    nll = np.array([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0], [1.0, 2.0, 3.0]])
    finished = np.array([[0, 1, 1], [0, 1, 1], [0, 0, 0]])
    found = rule.choose(scores, nll, np.ones((3, 3)), finished)
    assert not found.passes[:2, 0].any()
    if rule.quantile is None:
        assert found.chosen.tolist() == [1, 2, 0]  # in the second prompt no response that ended passes
        assert found.passed.tolist() == [True, False, True]
    else:
        assert found.chosen.tolist() == [1, 2, 0]
        assert found.passed.all()
    paper = Selection(rule.threshold, rule.quantile, finished="any").choose(scores, nll, np.ones((3, 3)), finished)
    assert paper.chosen.tolist() == [0, 0, 0]


@given(
    arrays(float, SHAPE, elements=unit), arrays(bool, SHAPE), st.sampled_from([Selection(0.5), Selection(quantile=0.5)])
)
def test_where_all_or_none_ended_both_rules_choose_alike_and_else_the_chosen_one_ended(scores, finished, rule):
    nll, length = np.random.default_rng(0).gamma(2, 1, SHAPE), np.ones(SHAPE)
    first = rule.choose(scores, nll, length, finished)
    paper = Selection(rule.threshold, rule.quantile, finished="any").choose(scores, nll, length, finished)
    alike = finished.all(axis=1) | ~finished.any(axis=1)
    assert (first.chosen == paper.chosen)[alike].all()
    assert (first.passes == paper.passes)[alike].all()
    assert finished[np.arange(SHAPE[0]), first.chosen][finished.any(axis=1)].all()


def test_loops_that_never_end_turn_the_gap_negative_where_they_compete():
    """One response in ten is a loop: cut off, long, and the likeliest a token (THEORY 7)."""
    rng = np.random.default_rng(0)
    shape = (400, 8)
    loop = rng.random(shape) < 0.1
    length = np.where(loop, 512.0, rng.integers(60, 200, shape))
    nll = length * np.where(loop, 0.15, 0.25 + 0.1 * rng.random(shape))
    right = ~loop & (rng.random(shape) < 0.6)
    scores = np.where(right, 0.9, np.where(rng.random(shape) < 0.5, 0.9, 0.2))
    gaps, accuracy = {}, {}
    for finished in ("first", "any"):
        chosen = Selection(0.5, finished=finished).choose(scores, nll, length, ~loop).chosen
        at = np.arange(len(chosen)), chosen
        gaps[finished], accuracy[finished] = (nll.mean(axis=1) - nll[at]).mean(), right[at].mean()
    assert gaps["first"] > 5
    assert gaps["any"] < 0
    assert accuracy["first"] > accuracy["any"] + 0.2


def test_what_an_older_run_chose_is_chosen_again():
    assert Selection.of_record({"selection": {"threshold": 0.4}}) == Selection(0.4, finished="any")
    assert Selection.of_record({"selection": {"threshold": 0.4, "finished": "first"}}) == Selection(0.4)
