"""The gap of MG and what chooses responses: identities, hand-computed cases, and enumeration of whole distributions."""

from itertools import combinations, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta as beta_law

from sivgap.errors import ConfigError
from sivgap.gap.best_of import best_by_score, best_of_table, vote
from sivgap.gap.estimate import bootstrap, mean, ratio
from sivgap.gap.gap import aggregate_relative_gap, gap, relative_gap
from sivgap.gap.over_n import choice_probability, gap_over_subsets, over_n
from sivgap.gap.pass_at_k import mean_pass_at_k
from sivgap.gap.selection import Selection
from sivgap.gap.weights import Exponential, Quantile, Threshold, weigh

WEIGHTS = (Threshold(0.5), Threshold(0.9), Quantile(0.3), Quantile(1.0), Exponential(0.2))
seeds = st.integers(0, 2**32 - 1)


def panel(seed, prompts=12, size=6, levels=5):
    """0/1 utilities and coarse scores (ties are common) that lean towards the right responses."""
    rng = np.random.default_rng(seed)
    utility = (rng.random((prompts, size)) < rng.random((prompts, 1))).astype(float)
    return utility, np.clip(np.round(levels * (0.4 * rng.random((prompts, size)) + 0.5 * utility)) / levels, 0, 1)


# Weights


def test_weights_by_hand():
    scores = np.array([[0.1, 0.5, 0.5, 0.9]])
    assert weigh(scores, Threshold(0.5)).tolist() == [[0, 1, 1, 1]]
    assert weigh(scores, Quantile(0.25)).tolist() == [[0, 0, 0, 1]]
    assert weigh(scores, Quantile(0.5)).tolist() == [[0, 0.5, 0.5, 1]]  # the tied two share one place
    assert weigh(scores, Quantile(0.8)) == pytest.approx(np.array([[0.2, 1, 1, 1]]))
    found = weigh(scores, Exponential(0.4))
    assert found[0] / found[0, 0] == pytest.approx(np.exp((scores[0] - 0.1) / 0.4))


@given(seeds, st.floats(0.01, 1))
def test_a_quantile_keeps_exactly_its_share_and_sees_only_the_order_of_scores(seed, q):
    _, scores = panel(seed)
    kept = weigh(scores, Quantile(q))
    assert kept.sum(axis=1) == pytest.approx(q * scores.shape[1])
    assert weigh(np.exp(3 * scores) - 7, Quantile(q)) == pytest.approx(kept)


@settings(max_examples=25)
@given(seeds)
def test_no_weight_depends_on_the_order_of_responses(seed):
    utility, scores = panel(seed)
    order = np.random.default_rng(seed).permutation(scores.shape[1])
    for weight in WEIGHTS:
        assert weigh(scores[:, order], weight) == pytest.approx(weigh(scores, weight)[:, order])
        for fallback in ("all", "drop", "zero"):
            mine, theirs = (gap(utility[:, o], weigh(scores[:, o], weight), fallback) for o in (order, slice(None)))
            assert mine.by_prompt == pytest.approx(theirs.by_prompt)


def test_extreme_temperatures_stay_finite():
    utility, scores = panel(0)
    assert gap(utility, weigh(scores, Exponential(1e9))).estimate.value == pytest.approx(0, abs=1e-8)
    coldest = gap(utility, weigh(scores, Exponential(1e-9)))
    assert coldest.accuracy.value == pytest.approx(best_by_score(utility, scores).mean())


@pytest.mark.parametrize("wrong", [lambda: Quantile(0), lambda: Quantile(1.1), lambda: Exponential(0)])
def test_weights_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ConfigError):
        wrong()


# The gap: identities of MG Section 2


@given(seeds, st.sampled_from([0.1, 1.0]))
def test_a_constant_weight_has_no_gap(seed, constant):
    utility, _ = panel(seed)
    weights = np.full_like(utility, constant)
    assert gap(utility, weights).by_prompt == pytest.approx(0)
    assert relative_gap(utility, weights).by_prompt == pytest.approx(0)


@given(seeds)
def test_a_perfect_verifier_turns_accuracy_into_pass_at_n(seed):
    utility, _ = panel(seed)
    for weight in (Threshold(1.0), Quantile(1 / utility.shape[1])):
        found = gap(utility, weigh(utility, weight))
        assert found.accuracy.value == pytest.approx(mean_pass_at_k(utility, utility.shape[1]).value)
        assert found.estimate.value == pytest.approx(utility.any(axis=1).mean() - utility.mean())


@settings(max_examples=30)
@given(seeds)
def test_the_relative_gap_is_at_most_1_and_1_for_a_perfect_verifier_of_prompts_with_a_right_response(seed):
    utility, scores = panel(seed)
    for weight in WEIGHTS:
        assert (relative_gap(utility, weigh(scores, weight)).by_prompt <= 1 + 1e-12).all()
    possible = utility.copy()
    possible[:, 0], possible[:, 1] = 1, 0
    assert relative_gap(possible, possible).estimate.value == pytest.approx(1)
    assert aggregate_relative_gap(possible, possible).value == pytest.approx(1)


def test_the_relative_gap_has_no_lower_bound():
    utility, kept = np.array([[1.0] * 9 + [0.0]]), np.array([[0.0] * 9 + [1.0]])
    assert relative_gap(utility, kept).estimate.value == pytest.approx(-9)


def test_each_convention_by_hand():
    utility = np.array([[1.0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0]])
    kept = np.array([[1.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])  # gaps .25, 0, and nothing kept
    everything, dropped, nothing = (gap(utility, kept, fallback) for fallback in ("all", "drop", "zero"))
    assert (everything.estimate.value, everything.accuracy.value) == pytest.approx((0.25 / 3, 2 / 3))
    assert (dropped.estimate.value, dropped.accuracy.value) == pytest.approx((0.125, 0.75))
    assert (nothing.estimate.value, nothing.accuracy.value) == pytest.approx((-0.25 / 3, 0.5))
    for found in (everything, dropped, nothing):
        assert (found.prompts, found.empty, found.saturated) == (3, 1, 1)
    assert dropped.used.tolist() == [True, True, False]

    def relative(fallback, saturated):
        found = relative_gap(utility, kept, fallback, saturated)
        return found.estimate.value, int(found.used.sum())

    third = 0.25 / 0.75
    assert relative("all", "drop") == pytest.approx((third / 2, 2))
    assert relative("all", "zero") == pytest.approx((third / 3, 3))
    assert relative("drop", "drop") == pytest.approx((third, 1))
    assert relative("drop", "zero") == pytest.approx((third / 2, 2))
    assert relative("zero", "drop") == pytest.approx(((third - 1) / 2, 2))
    assert aggregate_relative_gap(utility, kept).value == pytest.approx(0.25 / 1.25)


def test_what_cannot_be_estimated_is_none():
    right, nothing = np.ones((3, 4)), np.zeros((3, 4))
    for estimate in (
        relative_gap(right, right).estimate,
        aggregate_relative_gap(right, right),
        gap(right, nothing, "drop").estimate,
        mean_pass_at_k(right, 5),
    ):
        assert estimate.value is estimate.stderr is estimate.low is estimate.high is None
    alone = gap(right[:1], right[:1]).estimate
    assert (alone.value, alone.stderr) == (0.0, None)


# The estimator against the whole distribution of its samples

PROBABILITY, UTILITY, SCORE = np.array([0.3, 0.2, 0.4, 0.1]), np.array([1.0, 1, 0, 0]), np.array([0.8, 0.3, 0.2, 0.8])


def all_samples(size):
    """Every sample of `size` responses of a known distribution: its chance, utilities and scores."""
    drawn = np.array(list(product(range(len(PROBABILITY)), repeat=size)))
    return PROBABILITY[drawn].prod(axis=1), UTILITY[drawn], SCORE[drawn]


def exact_mean(weight_of_response):
    """E_{f[w]} u of the known distribution."""
    return PROBABILITY @ (UTILITY * weight_of_response) / (PROBABILITY @ weight_of_response)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_thresholds_gap_is_biased_by_nothing_but_its_fallback(size):
    chance, utility, scores = all_samples(size)
    keeps = (SCORE >= 0.5).astype(float)
    miss = (1 - PROBABILITY @ keeps) ** size
    kept = weigh(scores, Threshold(0.5))
    used = gap(utility, kept, "drop").used
    assert chance[used].sum() == pytest.approx(1 - miss)
    filtered = gap(utility, kept).by_prompt + utility.mean(axis=1)
    assert chance[used] @ filtered[used] / chance[used].sum() == pytest.approx(exact_mean(keeps))
    expected = (1 - miss) * exact_mean(keeps) + miss * exact_mean(1 - keeps) - PROBABILITY @ UTILITY
    assert chance @ gap(utility, kept, "all").by_prompt == pytest.approx(expected)
    expected = (1 - miss) * exact_mean(keeps) - PROBABILITY @ UTILITY
    assert chance @ gap(utility, kept, "zero").by_prompt == pytest.approx(expected)


def test_other_weights_are_biased_by_the_order_of_one_over_n_and_converge():
    tilted = np.exp(SCORE / 0.3)
    truth = exact_mean(tilted) - PROBABILITY @ UTILITY
    bias = []
    for size in (1, 2, 4, 8):
        chance, utility, scores = all_samples(size)
        bias.append(chance @ gap(utility, weigh(scores, Exponential(0.3))).by_prompt - truth)
    assert bias[0] == pytest.approx(-truth)  # a single response is always kept
    assert abs(bias[3]) < 0.6 * abs(bias[2]) < 0.4 * abs(bias[1])
    drawn = np.random.default_rng(0).choice(4, p=PROBABILITY, size=(1, 400_000))
    found = gap(UTILITY[drawn], weigh(SCORE[drawn], Exponential(0.3)))
    assert found.estimate.value == pytest.approx(truth, abs=0.005)


def simulated(rng, prompts, size):
    """Prompts of Beta(2, 2) difficulty, and a verifier that is right about four responses of five."""
    utility = (rng.random((prompts, size)) < rng.beta(2, 2, (prompts, 1))).astype(float)
    return utility, np.where(rng.random((prompts, size)) < 0.8, utility, 1 - utility)


def test_intervals_hold_the_truth_nine_times_in_ten():
    size, prompts = 4, 60
    p = (np.arange(4000) + 0.5) / 4000
    keeps = 0.8 * p + 0.2 * (1 - p)
    miss = (1 - keeps) ** size
    filtered = (1 - miss) * 0.8 * p / keeps + miss * 0.2 * p / (1 - keeps)
    density = beta_law(2, 2).pdf(p) / 4000
    truth, share = density @ (filtered - p), density @ (filtered - p) / (density @ (1 - p))
    rng = np.random.default_rng(1)
    held = np.zeros(2)
    for _ in range(600):
        utility, scores = simulated(rng, prompts, size)
        kept = weigh(scores, Threshold(0.5))
        one, two = gap(utility, kept).estimate, aggregate_relative_gap(utility, kept)
        held += [one.low <= truth <= one.high, two.low <= share <= two.high]
    assert held / 600 == pytest.approx(0.9, abs=0.04)


def test_the_bootstrap_agrees_with_the_formulas():
    rng = np.random.default_rng(2)
    a, b = rng.gamma(2, 1, 80), rng.gamma(3, 1, 80)
    found = bootstrap(lambda c: np.array([c @ a / c.sum(), (c @ a) / (c @ b), np.nan]), 80, draws=4000)
    for drawn, formula in zip(found, (mean(a), ratio(a, b)), strict=False):
        assert drawn.value == pytest.approx(formula.value)
        assert drawn.stderr == pytest.approx(formula.stderr, rel=0.06)
        assert (drawn.low, drawn.high) == pytest.approx((formula.low, formula.high), rel=0.03)
    assert found[2].value is None


# Choosing among n


RULES = (Selection(0.5), Selection(quantile=0.3), Selection(quantile=0.6), Selection(0.5, finished="any"))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.name}, {rule.finished}")
@pytest.mark.parametrize(("unread", "cut"), [(0, 0), (0.3, 0), (0.9, 0), (0, 0.4), (0.3, 0.6)])
def test_every_number_over_n_is_the_average_over_all_subsets(rule, unread, cut):
    rng = np.random.default_rng(3)
    utility, scores = panel(3, prompts=5, size=7)
    nll, length = rng.gamma(2, 1, scores.shape), rng.integers(1, 4, scores.shape)
    unparsed = (rng.random(scores.shape) < unread).astype(float)
    finished = (rng.random(scores.shape) >= cut).astype(float)
    table = over_n(utility, scores, nll, length, finished, rule, unparsed).set_index("n")
    assert list(table.index) == [1, 2, 4]
    for n in table.index:
        chosen, likeliest = np.zeros_like(scores), np.zeros(5)
        gaps, some = np.zeros(5), np.zeros(5)
        subsets = [list(s) for s in combinations(range(7), n)]
        for subset in subsets:
            by = scores[:, subset], unparsed[:, subset]
            of = scores[:, subset], nll[:, subset], length[:, subset], finished[:, subset]
            within = rule.choose(*of, unparsed[:, subset]).chosen
            chosen[np.arange(5), np.array(subset)[within]] += 1 / len(subsets)
            best = rule.without_scores.choose(*of).chosen
            likeliest += utility[np.arange(5), np.array(subset)[best]] / len(subsets)
            gaps += gap(utility[:, subset], rule.weights(*by)).by_prompt + utility[:, subset].mean(axis=1)
            some += utility[:, subset].any(axis=1) / len(subsets)
        gaps = gaps / len(subsets) - utility.mean(axis=1)
        assert choice_probability(scores, nll, length, finished, rule, n, unparsed) == pytest.approx(chosen)
        assert gap_over_subsets(utility, scores, rule, n, unparsed) == pytest.approx(gaps)
        row = table.loc[n]
        by_prompt = (chosen * utility).sum(axis=1)
        assert row["best_of_n"] == pytest.approx(by_prompt.mean())
        assert row["best_of_n_se"] == pytest.approx(by_prompt.std(ddof=1) / np.sqrt(5))
        assert (row["likeliest_of_n"], row["score_gain"]) == pytest.approx(
            (likeliest.mean(), (by_prompt - likeliest).mean())
        )
        assert (row["gv_gap"], row["pass_at_n"]) == pytest.approx((gaps.mean(), some.mean()))


@settings(max_examples=30)
@given(seeds, st.integers(1, 9), st.sampled_from(RULES))
def test_choosing_among_n_begins_at_chance_and_ends_at_the_rule_itself(seed, size, rule):
    utility, scores = panel(seed, size=size)
    nll, length = np.random.default_rng(seed).gamma(2, 1, scores.shape), np.ones(scores.shape, dtype=int)
    finished = np.random.default_rng(seed + 1).random(scores.shape) < 0.7
    assert choice_probability(scores, nll, length, finished, rule, 1) == pytest.approx(1 / size)
    last = choice_probability(scores, nll, length, finished, rule, size)
    assert (last.argmax(axis=1) == rule.choose(scores, nll, length, finished).chosen).all()
    assert last.max(axis=1) == pytest.approx(1)
    assert gap_over_subsets(utility, scores, rule, 1) == pytest.approx(0)
    assert gap_over_subsets(utility, scores, rule, size) == pytest.approx(gap(utility, rule.weights(scores)).by_prompt)


def test_best_of_n_majority_and_weighted_majority_by_hand():
    answers = np.array([["7", "7", "7", "9"], ["1", "2", None, None], [None] * 4], dtype=object)
    utility = np.array([[0.0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]])
    scores = np.array([[0.2, 0.2, 0.2, 0.9], [0.5, 0.5, 0.9, 0.9], [1, 1, 1, 1.0]])
    table = best_of_table(utility, answers, scores).set_index("method")
    assert vote(utility, answers, np.ones_like(scores)).tolist() == [0, 0.5, 0]  # two tied answers, one right
    assert vote(utility, answers, scores).tolist() == [1, 0.5, 0]
    unread = np.where(np.equal(answers, None), float("nan"), answers)  # as a table gives them back
    assert vote(utility, unread, scores).tolist() == [1, 0.5, 0]
    assert best_by_score(utility, scores).tolist() == [1, 0, 0]
    assert best_by_score(utility, scores, np.arange(12.0).reshape(3, 4)).tolist() == [1, 0, 0]
    assert best_by_score(np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]]), np.array([[2.0, 1.0]])).tolist() == [1]
    ended = np.array([[True, True, True, False], [True] * 4, [True] * 4])  # the best-scored of the first was cut off
    assert best_by_score(utility, scores, None, ended).tolist() == [0, 0, 0]
    assert table["accuracy"].to_dict() == pytest.approx(
        {"one_response": 0.5 / 3, "best_of_n": 1 / 3, "majority": 0.5 / 3, "weighted_majority": 0.5}
    )
    assert table["difference"]["weighted_majority"] == pytest.approx(0.5 / 3)
    assert table["difference_se"]["weighted_majority"] == pytest.approx(np.std([0, 0.5, 0], ddof=1) / np.sqrt(3))


@given(seeds)
def test_a_vote_does_not_depend_on_the_order_of_responses(seed):
    rng = np.random.default_rng(seed)
    answers = rng.choice(np.array(["a", "b", "c", None], dtype=object), size=(1, 4))
    utility, scores = (answers == "a").astype(float), rng.choice([0.1, 0.2, 0.3, 0.7], size=(1, 4))
    found = {vote(*(x[:, list(order)] for x in (utility, answers, scores)))[0] for order in permutations(range(4))}
    assert len(found) == 1
