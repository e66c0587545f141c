"""What is printed means what it says: coverage of intervals, levels of tests, words where a number would mislead."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inference.estimates import aurocs, calibrations, constant_verifier, gaps, shares
from inference.levels import gone
from inference.levels import strategies as four_equal_settings
from inference.panels import Population, kept
from scipy.stats import binomtest

from sivgap.gap.auroc import auroc, auroc_estimate, auroc_influence, auroc_within
from sivgap.gap.calibration import calibration
from sivgap.gap.estimate import FEWEST, Estimate, mean, proportion, share, wilson
from sivgap.gap.gap import aggregate_relative_gap, gap, relative_gap, saturated_fraction
from sivgap.gap.pass_at_k import mean_pass_at_k
from sivgap.gap.rival import rival
from sivgap.gap.selection import Selection
from sivgap.report.charts import gv_gap as chart_of_gaps
from sivgap.report.record import Record, read_record
from sivgap.report.tables import cells, trajectory_table
from sivgap.report.trajectory_figure import interval

seeds = st.integers(0, 2**32 - 1)


# Shares


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(2, 40), st.sampled_from([0.0, 0.02, 0.5, 1.0]))
def test_no_interval_of_a_share_leaves_0_to_1_or_has_no_width(seed, prompts, chance):
    rng = np.random.default_rng(seed)
    correct = (rng.random((prompts, 8)) < chance).astype(float)
    scores = rng.random(correct.shape)
    found = [proportion(correct.mean(axis=1), 8), mean_pass_at_k(correct, 4), mean_pass_at_k(correct, 8),
             share((correct * (scores > 0.5)).sum(axis=1), correct.sum(axis=1)), auroc_estimate(scores, correct),
             auroc_within(scores, correct), calibration(scores, correct, draws=20)["brier"],
             saturated_fraction(correct)]  # fmt: skip
    for each in found:
        if each.low is not None:
            assert 0 <= each.low <= each.value <= each.high <= 1
            assert each.high - each.low > 0.01


def test_of_one_response_a_prompt_it_is_wilsons_interval():
    right = np.zeros(5001)
    right[:150] = 1
    found = proportion(right)
    exact = binomtest(150, 5001).proportion_ci(0.9, "wilson")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), rel=1e-3)
    assert wilson(1.0, 0.0, 32, 256) == pytest.approx((32 / (32 + 1.6955**2), 1), abs=1e-3)  # Student's t, 31 degrees


def test_the_interval_of_a_share_holds_it_where_students_does_not():
    for row in shares(150, ((32,), (0.01, 0.99), (0.4,))):
        if row["quantity"] != "true positive rate":
            assert row["after"] >= 0.87, row
    (row,) = (row for row in shares(150, ((32,), (0.99,), (0.4,))) if row["quantity"] == "pass@8")
    assert row["before"] < 0.1
    assert row["after"] > 0.93


# The gap and its relative forms


def test_a_verifier_that_stays_the_same_is_logged_as_one_while_the_model_improves():
    """Issue 20: truth .298 to .650, logged before .283 to .089."""
    first, *_, last = constant_verifier(3)
    assert [row["mean over prompts, truth"] for row in (first, last)] == pytest.approx([0.298, 0.650], abs=0.001)
    assert [row["before: saturated count 0"] for row in (first, last)] == pytest.approx([0.281, 0.087], abs=0.02)
    assert [row["mean over prompts"] for row in (first, last)] == pytest.approx([0.295, 0.577], abs=0.05)
    assert [row["aggregate"] for row in (first, last)] == pytest.approx([0.205, 0.491], abs=0.05)
    assert [row["aggregate, truth"] for row in (first, last)] == pytest.approx([0.210, 0.498], abs=0.001)
    assert last["saturated"] > 0.8


def test_gaps_hold_their_truth_or_say_that_they_rest_on_too_little():
    for row in gaps(150, ((128,), (0.03, 0.3, 0.97), (0.4,))):
        assert row["after"] >= 0.82, row
    hidden = {row["quantity"]: row["hidden"] for row in gaps(30, ((32,), (0.99,), (0.4,)))}
    assert min(hidden.values()) > 0.9


def test_informative_prompts_are_those_whose_responses_differ_in_both():
    utility = np.array([[1.0, 0], [1, 0], [1, 1], [0, 0], [1, 0]])
    weights = np.array([[1.0, 0], [1, 1], [1, 0], [0, 1], [0, 0]])
    for found in (gap(utility, weights).estimate, relative_gap(utility, weights).estimate,
                  aggregate_relative_gap(utility, weights)):  # fmt: skip
        assert found.informative == 1
        assert found.hidden
        assert found.low is found.high is None
        assert found.value is not None
    assert (
        gap(utility, weights, "zero").estimate.informative == 2
    )  # that it kept nothing costs the last prompt its half
    many = gap(np.tile(utility, (FEWEST, 1)), np.tile(weights, (FEWEST, 1))).estimate
    assert (many.informative, many.hidden) == (FEWEST, False)
    frame = pd.DataFrame([found.columns("gv_gap") for found in (gap(utility, weights).estimate, many)])
    shown = cells(frame)
    assert shown[0][0] == "too few informative prompts: 1"
    assert shown[1][0] == f"{many.value:.4g}"
    ones, half = np.ones((40, 4)), np.tile([0.0, 1, 1, 0], (40, 1))
    constant = rival(ones, ones, ones, ones, half, Selection(0.5))
    assert constant.score_gain == Estimate(0.0, 0.0, None, None, 0)


# AUROC


def test_the_error_of_the_auroc_is_what_resampled_prompts_show():
    scores, correct = Population(0.5, 0.4).graded(300, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    drawn = [auroc(scores[rows], correct[rows]) for rows in rng.integers(300, size=(400, 300))]
    assert auroc_estimate(scores, correct).stderr == pytest.approx(np.std(drawn), rel=0.12)
    assert auroc_influence(scores, correct).mean() == pytest.approx(0, abs=1e-12)
    assert auroc_estimate(scores, correct).value == auroc(scores, correct)


def test_the_intervals_of_the_auroc_hold_it():
    for row in aurocs(100, ((128,), (0.3, 0.97), (0.4,))):
        assert row["after"] >= 0.8, row


def test_a_score_that_knows_only_which_prompts_are_easy_has_no_auroc_within_them():
    rng = np.random.default_rng(2)
    chance = rng.random((2000, 1))
    correct = (rng.random((2000, 8)) < chance).astype(float)
    easy = np.broadcast_to(chance, correct.shape)
    assert auroc(easy, correct) == pytest.approx(5 / 6, abs=0.02)
    assert auroc_within(easy, correct).value == 0.5


# Calibration


def test_a_calibrated_verifiers_error_may_be_0_and_a_too_confident_ones_is_held():
    rows = calibrations(60, ((128,), (0.3,), (0.4,)), draws=200)
    calibrated, confident = rows
    assert calibrated["before"] < 0.05
    assert calibrated["after"] >= 0.87
    assert calibrated["plain"] == pytest.approx(calibrated["expected if calibrated"], rel=0.15)
    assert calibrated["estimate"] < calibrated["plain"] / 2
    assert confident["after"] >= 0.78
    assert confident["estimate"] == pytest.approx(confident["truth"], rel=0.15)
    sure = calibration(np.ones((20, 4)), np.ones((20, 4)))["calibration_error"]
    assert sure == Estimate(0.0)  # nothing says how other prompts would differ


# Tests


def test_a_gap_of_the_margin_is_called_gone_in_one_run_of_twenty_and_was_in_most():
    (small, large) = gone(150, ((32, 512), (0.3,), (0.4,)))
    assert small["before"] > 0.25
    assert small["after"] <= 0.05
    assert large["after"] <= 0.1


def test_of_equal_strategies_one_is_called_above_as_seldom_as_is_said():
    rows = four_equal_settings(120)
    for row in rows:
        if row["seeds"] > 1:
            assert row["an above, Holm"] <= 0.08, row
            assert row["expected if equal"] == pytest.approx(row["Max-Min"], rel=0.2)
    assert rows[0]["an above, Holm"] <= rows[0]["an above, before"]


# Trajectories


def line(epoch: float, **more) -> dict:
    of_all = {"epoch": epoch, "split": "test", "n_prompts": 128, "n_samples": 8, "gv_gap": 0.1, "gv_gap_se": 0.01,
              "gv_gap_relative": 0.3, "pass_at_k": {"1": 0.5}, "solver_accuracy": 1.0,
              "solver_accuracy_se": 0.0}  # fmt: skip
    return of_all | more


NEW = {"gv_gap_relative_se": 0.02, "gv_gap_aggregate_relative": 0.2, "gv_gap_aggregate_relative_se": 0.02,
       "gv_gap_informative": 60, "saturated_fraction": 0.1}  # fmt: skip


def record(tmp_path: Path, lines: list[dict]) -> Record:
    (tmp_path / "trajectory.jsonl").write_text("".join(f"{pd.Series(one).to_json()}\n" for one in lines))
    (tmp_path / "status.json").write_text("{}")
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    return read_record(tmp_path)


def test_an_older_runs_relative_gap_is_missing_for_it_was_another_quantity(tmp_path):
    old = record(tmp_path, [line(0.0), line(1.0)])
    assert "gv_gap_relative" not in trajectory_table(old)
    assert [trace.name for trace in chart_of_gaps(old).data] == ["gap"]
    resumed = record(tmp_path, [line(0.0), line(1.0, **NEW)])
    table = trajectory_table(resumed)
    assert table["gv_gap_relative"].isna().tolist() == [True, False]
    assert [trace.name for trace in chart_of_gaps(resumed).data] == [
        "gap", "relative gap, aggregate", "relative gap, mean over prompts",
    ]  # fmt: skip


def test_a_trajectorys_bars_are_intervals_and_its_numbers_say_where_they_rest_on_too_few():
    lines = [line(0.0, **NEW), line(1.0, **(NEW | {"gv_gap_informative": 4}))]
    value, low, high = interval(lines, "solver_accuracy")
    assert (value[0], high[0]) == (1, 1)
    assert 0.97 < low[0] < 0.99  # 128 of 128 responses right: not certain
    value, low, high = interval(lines, "gv_gap_aggregate_relative")
    assert value[0] - low[0] == pytest.approx(0.02 * 1.6569, abs=1e-4)
    assert np.isnan([value[1], low[1], high[1]]).all()
    assert mean(np.ones(3)).low == 1  # of numbers that are no shares nothing is assumed


def test_kept_is_what_the_population_says():
    rng = np.random.default_rng(3)
    correct = Population(0.5, 0.4).correct(4000, rng)
    weights = kept(correct, rng)
    assert weights[correct == 1].mean() == pytest.approx(0.9, abs=0.01)
    assert weights[correct == 0].mean() == pytest.approx(0.3, abs=0.01)
