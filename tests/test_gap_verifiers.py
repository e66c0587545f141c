"""What is said of verifiers: correlation, variance, calibration, ensembles, cross-verification, scaling."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress, pearsonr, rankdata, spearmanr

from sivgap.errors import ConfigError
from sivgap.gap.auroc import auroc
from sivgap.gap.calibration import calibration, equal_count_bins, reliability_curve
from sivgap.gap.correlation import gap_correlations, score_correlations, weighted_pearson, weighted_ranks
from sivgap.gap.cross import cross_table, own_against_others, pivot
from sivgap.gap.distribution import gap_quantiles, gap_signs, score_histogram, score_quantiles
from sivgap.gap.ensemble import all_agree, combination_table, fit_logistic, learned_scores, subset_table
from sivgap.gap.gap import gap
from sivgap.gap.scaling import fit_line, partial_correlation, pretraining_flops, read_models, scaling_table
from sivgap.gap.variance import components, over_repetitions
from sivgap.gap.weights import Quantile, Threshold, weigh
from sivgap.published import published

seeds = st.integers(0, 2**32 - 1)


def panel(seed, prompts=40, size=6, noise=0.6):
    """0/1 utilities and scores in [0, 1] on a grid of eleven."""
    rng = np.random.default_rng(seed)
    utility = (rng.random((prompts, size)) < rng.random((prompts, 1))).astype(float)
    return utility, np.round(10 * (noise * rng.random((prompts, size)) + (1 - noise) * utility)) / 10


# Correlation


@given(seeds)
def test_counting_prompts_is_the_same_as_repeating_them(seed):
    rng = np.random.default_rng(seed)
    a, b, times = rng.integers(0, 4, 12) / 4, rng.normal(size=12), rng.integers(0, 3, 12)
    a[:3], times[:3] = [0, 0.5, 1], 1
    repeated = np.repeat(a, times), np.repeat(b, times)
    counts = times.astype(float)
    assert weighted_pearson(a, b, counts) == pytest.approx(pearsonr(*repeated).statistic)
    ranks = [weighted_ranks(np.unique(x, return_inverse=True)[1], counts) for x in (a, b)]
    assert weighted_pearson(*ranks, counts) == pytest.approx(spearmanr(*repeated).statistic)


def test_verifiers_that_share_nothing_but_the_prompts_correlate_between_prompts_only():
    rng = np.random.default_rng(0)
    hard = rng.random((200, 1))
    scores = {name: 0.7 * hard + 0.3 * rng.random((200, 8)) for name in "ab"}
    scores["c"] = scores["a"] ** 3
    table = score_correlations(scores, draws=100).set_index(["first", "second"])
    assert table.loc["a", "b"]["pearson"] > 0.7
    assert abs(table.loc["a", "b"]["pearson_within"]) < 0.1
    assert table.loc["a", "b"]["pearson"] == pytest.approx(pearsonr(scores["a"].ravel(), scores["b"].ravel()).statistic)
    assert table.loc["a", "c"]["spearman"] == pytest.approx(1)
    assert table.loc["a", "c"]["spearman_within"] == pytest.approx(1)
    row = table.loc["a", "b"]
    assert row["spearman_low"] < row["spearman"] < row["spearman_high"]


def test_correlation_of_gaps_is_over_prompts_and_missing_where_a_gap_does_not_vary():
    rng = np.random.default_rng(1)
    gaps = {"a": rng.normal(size=50), "b": rng.normal(size=50), "none": np.zeros(50)}
    table = gap_correlations(gaps, draws=50).set_index(["first", "second"])
    assert table.loc["a", "b"]["spearman"] == pytest.approx(spearmanr(gaps["a"], gaps["b"]).statistic)
    assert np.isnan(table.loc["a", "none"]["pearson"])


# Variance


def verdicts(rng, prompts, size, repetitions, spread=(0.3, 0.2, 0.1)):
    return sum(
        np.sqrt(variance) * rng.normal(size=shape)
        for variance, shape in zip(
            spread, ((prompts, 1, 1), (prompts, size, 1), (prompts, size, repetitions)), strict=True
        )
    )


def test_the_components_of_variance_are_unbiased_and_their_errors_are_right():
    rng = np.random.default_rng(2)
    tables = [components(verdicts(rng, 100, 4, 3), draws=50, seed=i) for i in range(150)]
    found = np.array([table["variance"] for table in tables])
    assert found.mean(axis=0) == pytest.approx([0.3, 0.2, 0.1], abs=4 * (found.std(axis=0) / np.sqrt(150)).max())
    said = np.mean([table["variance_se"] for table in tables], axis=0)
    assert said == pytest.approx(found.std(axis=0), rel=0.15)
    assert np.mean([table["share"] for table in tables], axis=0).sum() == pytest.approx(1)


def test_a_verdict_without_noise_has_none_and_one_that_is_all_noise_nothing_else():
    rng = np.random.default_rng(3)
    sure = np.repeat((rng.random((50, 6, 1)) < 0.5).astype(float), 8, axis=2)
    assert components(sure, draws=20)["variance"][2] == 0
    coin = (rng.random((300, 6, 8)) < 0.5).astype(float)
    prompt, response, repetition = components(coin, draws=20)["variance"]
    assert (prompt, response, repetition) == pytest.approx((0, 0, 0.25), abs=0.01)
    with pytest.raises(ConfigError, match="at least two"):
        components(coin[:, :, :1])


def test_more_verifications_bring_the_rates_that_the_binomial_says():
    rng = np.random.default_rng(4)
    utility = (rng.random((400, 6)) < 0.5).astype(float)
    said = (rng.random((400, 6, 8)) < np.where(utility == 1, 0.7, 0.4)[..., None]).astype(float)
    table = over_repetitions(said, utility, Threshold(0.5)).set_index("m")
    assert list(table.index) == [1, 2, 4, 8]
    for rate, chance in (("true_positive_rate", 0.7), ("false_positive_rate", 0.4)):
        assert table[rate][1] == pytest.approx(chance, abs=0.02)
        assert table[rate][2] == pytest.approx(1 - (1 - chance) ** 2, abs=0.03)  # one of two is enough
    exact = gap(utility, weigh(said.mean(axis=2), Threshold(0.5)))
    assert table["gv_gap"][8] == pytest.approx(exact.estimate.value)
    assert table["gv_gap_se"][8] == pytest.approx(exact.estimate.stderr)
    response = 0.15**2  # of a fair coin between .7 and .4
    repetition = (0.21 + 0.24) / 2
    assert table["noise_share"][8] == pytest.approx(repetition / 8 / (repetition / 8 + response), abs=0.05)
    dropped = over_repetitions(said, utility, Threshold(1.0), "drop").set_index("m")
    assert dropped["empty"][8] > dropped["empty"][1]


# Calibration


def test_the_parts_of_the_brier_score_by_hand():
    scores, correct = np.array([[0.2, 0.2], [0.8, 0.8]]), np.array([[0.0, 1], [1, 1]])
    found = calibration(scores, correct, draws=20)
    expected = {
        "brier": 0.19, "reliability": 0.065, "resolution": 0.0625, "uncertainty": 0.1875, "within": 0,
        "calibration_error_plain": 0.25, "auroc": 5 / 6,
    }  # fmt: skip
    assert {name: found[name].value for name in expected} == pytest.approx(expected)
    curve = reliability_curve(scores, correct)
    assert curve[["responses", "score", "accuracy"]].to_numpy().tolist() == [[2, 0.2, 0.5], [2, 0.8, 1]]


@settings(max_examples=30)
@given(seeds, st.integers(1, 15))
def test_the_brier_score_is_the_sum_of_its_parts_whatever_the_bins(seed, bins):
    utility, scores = panel(seed)
    found = {name: estimate.value for name, estimate in calibration(scores, utility, bins, draws=2).items()}
    assert found["brier"] == pytest.approx(((scores - utility) ** 2).mean())
    parts = found["reliability"] - found["resolution"] + found["uncertainty"] + found["within"]
    assert found["brier"] == pytest.approx(parts)
    assert found["reliability"] <= found["calibration_error_plain"] <= np.sqrt(found["reliability"]) + 1e-12


@given(seeds, st.integers(1, 12))
def test_tied_scores_share_a_bin_and_bins_follow_scores(seed, bins):
    _, scores = panel(seed, prompts=5)
    bin_of = equal_count_bins(scores, bins).ravel()
    order = np.argsort(scores.ravel())
    assert (np.diff(bin_of[order]) >= 0).all()
    assert all(len(set(bin_of[scores.ravel() == level])) == 1 for level in np.unique(scores))
    assert set(bin_of) == set(range(bin_of.max() + 1))


def test_scores_that_are_the_chance_of_being_right_are_calibrated_and_its_square_is_not():
    rng = np.random.default_rng(5)
    chance = rng.random((500, 8))
    correct = (rng.random(chance.shape) < chance).astype(float)
    honest, squared = (calibration(s, correct, draws=50) for s in (chance, chance**2))
    assert honest["reliability"].value < 0.002
    assert squared["calibration_error"].low > 0.02
    assert honest["calibration_error"].low == 0
    assert honest["calibration_error_plain"].value > 0
    assert squared["auroc"].value == honest["auroc"].value  # the order is the same
    assert len(reliability_curve(chance, correct)) == 10


@given(seeds)
def test_auroc_is_that_of_mean_ranks_to_the_last_bit(seed):
    utility, scores = (x.ravel() for x in panel(seed, prompts=6))
    right = utility == 1
    n, m = int(right.sum()), int((~right).sum())
    if n and m:
        assert auroc(scores, utility) == float((rankdata(scores)[right].sum() - n * (n + 1) / 2) / (n * m))


def test_the_interval_of_the_auroc_holds_the_truth_though_prompts_differ():
    rng = np.random.default_rng(6)
    truth = calibration(*reversed(panel(99, prompts=20_000)), draws=2)["auroc"].value
    held = 0
    for seed in range(150):
        utility, scores = panel(rng.integers(2**32), prompts=80)
        found = calibration(scores, utility, draws=100, seed=seed)["auroc"]
        held += found.low <= truth <= found.high
    assert held / 150 == pytest.approx(0.89, abs=0.07)  # 100 draws and 80 prompts cost about a point


# Ensembles


@settings(max_examples=20)
@given(seeds)
def test_verifiers_that_must_agree_keep_a_part_of_what_each_keeps(seed):
    utility, first = panel(seed)
    scores = {"a": first, "b": panel(seed + 1)[1], "c": panel(seed + 2)[1]}
    kept = {name: weigh(values, Threshold(0.4)) for name, values in scores.items()}
    for size in (1, 2, 3):
        for members in combinations(kept, size):
            both = all_agree([kept[m] for m in members])
            assert (both == np.all([kept[m] == 1 for m in members], axis=0)).all()
    table = subset_table(utility, scores, dict.fromkeys(scores, Threshold(0.4))).set_index("verifiers")
    assert list(table["size"]) == [1, 1, 1, 2, 2, 2, 3]
    for rate in ("kept", "true_positive_rate", "false_positive_rate"):
        assert table[rate]["a & b & c"] <= table[rate]["a & b"] <= table[rate]["a"]
    assert table["empty"]["a & b & c"] >= table["empty"]["a & b"] >= table["empty"]["b"]


def test_independent_verifiers_gain_by_agreeing():
    rng = np.random.default_rng(7)
    utility = (rng.random((600, 16)) < 0.5).astype(float)
    scores = {name: np.where(rng.random(utility.shape) < 0.7, utility, 1 - utility) for name in "ab"}
    table = subset_table(utility, scores, dict.fromkeys(scores, Threshold(0.5))).set_index("verifiers")
    assert table["accuracy"]["a"] == pytest.approx(0.7, abs=0.02)
    assert table["accuracy"]["a & b"] == pytest.approx(0.49 / (0.49 + 0.09), abs=0.02)
    assert table["gv_gap"]["a & b"] == pytest.approx(table["accuracy"]["a & b"] - utility.mean(), abs=1e-9)
    with pytest.raises(ConfigError, match="at most"):
        subset_table(utility, {str(i): utility for i in range(13)}, {})


def test_learned_weights_find_who_knows_and_never_see_the_prompts_they_score():
    rng = np.random.default_rng(8)
    utility = (rng.random((200, 8)) < 0.5).astype(float)
    scores = {"knows": 0.4 * utility + 0.6 * rng.random(utility.shape)}
    scores |= {f"guesses_{i}": rng.random(utility.shape) for i in range(3)}
    table = combination_table(utility, scores, Quantile(0.25)).set_index("score")
    assert table["auroc"]["learned"] == pytest.approx(table["auroc"]["knows"], abs=0.01)
    assert table["auroc"]["average"] < table["auroc"]["knows"] - 0.05
    assert table["gv_gap"]["learned"] > table["gv_gap"]["average"]
    changed = utility.copy()
    changed[0] = 1 - changed[0]
    before, after = (learned_scores(u, scores) for u in (utility, changed))
    same = (before == after).all(axis=1)
    assert same[0]
    assert same.sum() == 100  # its own half; the other half was scored by a regression that has it


def test_logistic_regression_recovers_its_coefficients_and_survives_separation():
    rng = np.random.default_rng(9)
    features = rng.random((40_000, 2))
    chance = 1 / (1 + np.exp(1 - 3 * features[:, 0] + features[:, 1]))
    assert fit_logistic(features, (rng.random(40_000) < chance) * 1.0) == pytest.approx([-1, 3, -1], abs=0.15)
    assert np.isfinite(fit_logistic(features, (features[:, 0] > 0.5) * 1.0)).all()


# Distributions, cross-verification, scaling


def test_histograms_count_every_response_once():
    utility, scores = panel(10)
    table = score_histogram(scores, utility, bins=7)
    assert (table["right"].sum(), table["wrong"].sum()) == (utility.sum(), utility.size - utility.sum())
    assert (table["right_share"].sum(), table["low"][0], table["high"][6]) == pytest.approx((1, 0, 1))
    assert score_quantiles(scores, utility, [0.5])["right"][0] == np.median(scores[utility == 1])
    gaps = np.array([0.2, 0.0, 0.0, -0.1])
    assert gap_signs(gaps)["share"].tolist() == [0.25, 0.5, 0.25]
    assert gap_quantiles(gaps, [0.5])["gv_gap"][0] == 0
    assert score_quantiles(scores, np.ones_like(utility))["wrong"].isna().all()


def test_own_verification_is_paired_with_that_of_others():
    utility = {name: panel(seed)[0] for seed, name in enumerate(("small", "large"))}
    grid = {
        (g, v): gap(u, weigh(panel(seed)[1], Threshold(0.5)), "drop")
        for g, u in utility.items() for seed, v in enumerate(("small", "large", "third"))
    }  # fmt: skip
    shape = pivot(grid)
    assert shape.shape == (2, 3)
    assert shape.loc["large", "third"] == pytest.approx(grid["large", "third"].estimate.value)
    assert len(cross_table(grid)) == 6
    table = own_against_others(grid).set_index("generator")
    assert list(table.index) == ["small", "large", "all"]
    used = np.all([grid["small", v].used for v in shape.columns], axis=0)
    others = np.mean([grid["small", v].by_prompt for v in ("large", "third")], axis=0)
    difference = (grid["small", "small"].by_prompt - others)[used]
    assert table["difference"]["small"] == pytest.approx(difference.mean())
    assert table["difference_se"]["small"] == pytest.approx(difference.std(ddof=1) / np.sqrt(used.sum()))
    del grid["small", "third"]
    assert np.isnan(pivot(grid).loc["small", "third"])
    with pytest.raises(ConfigError, match="one panel"):
        own_against_others({**grid, ("x", "x"): gap(np.ones((3, 2)), np.ones((3, 2)))})


def test_the_line_is_the_ordinary_one_and_takes_three_models():
    rng = np.random.default_rng(11)
    flops = pretraining_flops(np.array([5e8, 2e9, 7e9, 1.4e10, 7e10]), np.array([2e12, 2e12, 3e12, 4e12, 4e12]))
    by_prompt = rng.normal(0.1 * np.log10(flops)[:, None] - 2, 0.3, (5, 400))
    by_prompt[2, :7] = np.nan
    gaps = np.nanmean(by_prompt, axis=1)
    line, plain = fit_line(flops, gaps, by_prompt, draws=400), linregress(np.log10(flops), gaps)
    assert (line.slope.value, line.slope.stderr, line.r) == pytest.approx((plain.slope, plain.stderr, plain.rvalue))
    assert line.intercept.value - line.slope.value * line.centre == pytest.approx(plain.intercept)
    assert line.slope_over_prompts.value == pytest.approx(plain.slope)
    away = np.log10(flops) - np.log10(flops).mean()
    assert line.slope_over_prompts.stderr == pytest.approx(0.015 / np.sqrt(away @ away), rel=0.2)
    assert fit_line(flops[:2], gaps[:2]) is None
    assert fit_line(np.full(3, 1e22), gaps[:3]) is None
    exact = fit_line(flops, 0.2 * np.log10(flops) - 4)
    assert (exact.slope.value, exact.r) == pytest.approx((0.2, 1))
    assert exact.band(np.array([1e25]))["gap"][0] == pytest.approx(1)


def test_the_band_holds_the_next_model_nine_times_in_ten():
    rng = np.random.default_rng(12)
    flops = 10.0 ** np.linspace(21, 24, 6)
    held = 0
    for _ in range(600):
        line = fit_line(flops, 0.1 * np.log10(flops) + rng.normal(0, 0.05, 6))
        band = line.band(np.array([1e25]))
        held += band["low"][0] <= 2.5 + rng.normal(0, 0.05) <= band["high"][0]
    assert held / 600 == pytest.approx(0.9, abs=0.04)


def test_published_models_are_read_from_a_csv(tmp_path):
    path = tmp_path / "models.csv"
    frame = pd.DataFrame(
        {"model": list("abcd"), "parameters": [1e9, 2e9, 4e9, 8e9], "tokens": 1e12, "accuracy": 0.5,
         "gap_cot": [0.1, 0.2, 0.3, 0.4], "gap_cot_se": 0.01, "gap_mc": [0.1, None, None, 0.2]}
    )  # fmt: skip
    frame.to_csv(path, index=False)
    models = read_models(path)
    assert models["flops"][0] == 6e21
    table = scaling_table(models)
    assert list(table["gap"]) == ["gap_cot"]  # of gap_mc two models are too few; a standard error is no gap
    assert table["slope"][0] == pytest.approx(0.1 / np.log10(2))
    for wrong, said in (
        (frame.drop(columns="tokens"), "lacks the columns tokens"),
        (frame.drop(columns=["gap_cot", "gap_mc"]), "begins with gap"),
        (frame.assign(parameters="7B"), "not all numbers"),
        (frame.assign(tokens=-1), "no positive numbers"),
    ):
        wrong.to_csv(path, index=False)
        with pytest.raises(ConfigError, match=said):
            read_models(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_models(tmp_path / "absent.csv")


def test_the_published_tables_say_what_their_paper_does_and_what_accuracy_explains():
    """MG Table 4: all slopes of MC are positive, too, and given accuracy FLOPs add to CoT-Binary alone."""
    models = read_models(published("mg_table_4"))
    assert len(models) == 21
    table = scaling_table(models).set_index("gap")
    assert set(table["models"]) == {20}  # of one model the tokens are not known
    choices = table.filter(like="gap_mc", axis=0)
    assert (choices["slope_low"] > 0).all()
    assert [round(100 * slope, 1) for slope in (choices["slope"].min(), choices["slope"].max())] == [4.5, 6.0]
    given = table["r_given_accuracy"]
    assert given["gap_cot_binary"] == pytest.approx(0.54, abs=0.005)
    assert given.drop("gap_cot_binary").between(-0.04, 0.15).all()
    assert table["r_given_accuracy_low"]["gap_cot_binary"] > 0
    assert (table["r_given_accuracy_low"].drop("gap_cot_binary") < 0).all()


def test_a_table_of_models_becomes_a_page(command, tmp_path):
    done = command("report", "models=mg_table_4")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / done.stdout.splitlines()[-1]).read_text()
    assert "gap_cot_binary: a tenfold of FLOPs brings +7.3 points" in page
    assert "given accuracy they add something (r +0.54" in page
    assert (tmp_path / "reports/mg_table_4/figures/models.png").exists()
    wrong = command("report", "models=absent.csv")
    assert wrong.returncode == 2
    assert "absent.csv cannot be read as a CSV" in wrong.stderr


def test_what_one_value_leaves_of_two_others():
    rng = np.random.default_rng(3)
    given = rng.normal(size=200)
    x, y = given + rng.normal(size=200), given + rng.normal(size=200)
    assert np.corrcoef(x, y)[0, 1] > 0.35
    found = partial_correlation(x, y, given)
    assert found.low < 0 < found.high
    assert partial_correlation(x, x + y, given).low > 0.5
    assert partial_correlation(x[:4], y[:4], given[:4]).value is None
