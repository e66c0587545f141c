"""Intervals and tests of a fit, on panels whose law is known: what is printed holds as often as it says.

The whole tables are made by benchmarks/inference_study.py; here are its smallest cells, at fixed seeds.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp

from sivgap.dynamics.analysis import analyse
from sivgap.dynamics.curves import Curves, read_curves
from sivgap.dynamics.energy import decay, exponent_test, fit_exponent
from sivgap.dynamics.fit import fit_coupled
from sivgap.dynamics.forecast import forecast
from sivgap.dynamics.gls import PromptCovariance
from sivgap.dynamics.influence import derivatives
from sivgap.dynamics.interval import bca_interval, effective_freedom
from sivgap.dynamics.phase_plane import bend
from sivgap.dynamics.population import PromptCurves, over_population
from sivgap.dynamics.projection import project
from sivgap.dynamics.verdict import lack_of_fit, phase_plane, separate_rates
from sivgap.dynamics.weights import errors_of

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from inference.curves import LAW, epochs, law_curves, of, panel, seeds

LIMIT = float(LAW.limits[0])
T = epochs(13)


def run_of(values: np.ndarray, t: np.ndarray = T) -> Curves:
    mean, error = values.mean(axis=0), values.std(axis=0, ddof=1) / len(values) ** 0.5
    return Curves("simulated", t, mean[0], mean[1], error[0], error[1])


# --- intervals -------------------------------------------------------------------------------------------------------


def test_intervals_over_prompts_hold_the_limit_and_profile_intervals_do_not():
    rng, held, before = np.random.default_rng(0), [], []
    for i in range(60):
        values = panel(T, 128, rng)
        found = over_population(T, [of(values)], 200, i).quantities
        held.append([found[n].low <= v <= found[n].high for n, v in (("solver_limit", LIMIT), ("rate", LAW.rate))])
        if i < 15:
            old = fit_coupled(run_of(values)).limits["solver"]
            before.append(old.low <= LIMIT <= old.high)
    assert (np.mean(held, axis=0) >= 0.8).all()  # .9 +- 2.6 standard errors of .04
    assert np.mean(before) < 0.7


def test_one_draw_of_prompts_serves_all_seeds():
    rng, t = np.random.default_rng(1), T
    held, width, alone = [], [], []
    for i in range(30):
        runs = seeds(t, 128, 5, rng)
        found = over_population(t, [of(one) for one in runs], 150, i).quantities["solver_limit"]
        held.append(found.low <= LIMIT <= found.high)
        width.append(found.high - found.low)
        single = over_population(t, [of(runs[0])], 150, i).quantities["solver_limit"]
        alone.append(single.high - single.low)
    assert np.mean(held) >= 0.75
    assert np.median(width) > 0.6 * np.median(alone)  # apart, it would be 1 / sqrt(5)


def test_the_interval_of_a_mean_is_students_and_wider_for_heavy_tails():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(200)
    draws = rng.multinomial(200, np.full(200, 1 / 200), size=4000) @ values / 200
    low, high = bca_interval(float(values.mean()), draws, values)
    assert high - low == pytest.approx(2 * 1.65 * values.std() / np.sqrt(200), rel=0.06)
    assert effective_freedom(values) == pytest.approx(199, rel=0.2)
    heavy = rng.standard_t(3, 200) ** 3
    assert effective_freedom(heavy) < 20
    assert bca_interval(1.0, np.array([np.nan, np.nan, 1.0]), values) is None


def test_derivatives_of_the_fit_are_those_of_finite_differences():
    rng = np.random.default_rng(0)
    curves = (law_curves(T) + 0.03 * rng.standard_normal((2, 13)))[None]
    weights = rng.uniform(0.5, 2, (2, 13))
    start, fall, log_rate = derivatives(T, curves, project(T, curves, weights), weights)
    for c, t in ((0, 0), (1, 5), (0, 12)):
        moved = np.repeat(curves, 2, axis=0)
        moved[0, c, t] += 1e-3
        moved[1, c, t] -= 1e-3
        up = project(T, moved, weights)
        assert log_rate[0, c, t] == pytest.approx(np.log(up.rate[0] / up.rate[1]) / 2e-3, rel=0.01, abs=2e-3)
        assert start[0, :, c, t] == pytest.approx((up.start[0] - up.start[1]) / 2e-3, rel=0.01, abs=2e-3)
        assert fall[0, :, c, t] == pytest.approx((up.fall[0] - up.fall[1]) / 2e-3, rel=0.01, abs=2e-3)


def test_prompts_that_scale_both_curves_alike_leave_the_rate_certain():
    own = np.random.default_rng(0).gamma(4, 0.25, 300)[:, None]
    found = over_population(T, [PromptCurves(own * LAW.solver(T), own * LAW.verifier(T))], 300, 0).quantities
    assert found["rate"].high - found["rate"].low < 1e-4
    width = found["solver_initial"].high - found["solver_initial"].low
    assert width == pytest.approx(2 * 1.65 * LAW.solver(0.0) * own.std() / np.sqrt(300), rel=0.2)


def test_an_analysis_says_of_what_its_intervals_are():
    values = panel(T, 60, np.random.default_rng(0))
    run = run_of(values)
    bare, whole = analyse([run], T, draws=50), analyse([run], T, draws=50, prompts=[of(values)])
    assert bare.of == "this panel"
    assert any("conditional on this panel" in said for said in bare.warnings)
    assert whole.of == "population of prompts"
    assert not any("conditional on this panel" in said for said in whole.warnings)
    one = whole.fit.parameters["rate"]
    assert (one.panel_low, one.panel_high) == (bare.fit.parameters["rate"].low, bare.fit.parameters["rate"].high)
    assert one.low < one.panel_low < one.panel_high < one.high
    other = PromptCurves(*np.moveaxis(values, 1, 0), ids=tuple(map(str, range(60))))
    assert analyse([run, run], T, draws=50, prompts=[of(values), other]).population is None  # not of one panel


def test_smoothed_weights_follow_the_level_and_seeds_share_them():
    first, second = (run_of(panel(T, 200, np.random.default_rng(s))) for s in (0, 1))
    one, other = errors_of([first, second], "smoothed")
    assert (one == other).all()
    assert one[0] ** 2 == pytest.approx(one[0, 0] ** 2 * LAW.solver(T) / LAW.solver(0.0), rel=0.2)
    both = fit_coupled([first, second], weights="smoothed", intervals=False)
    mean = Curves("mean", T, (first.solver + second.solver) / 2, (first.verifier + second.verifier) / 2)
    weighted = project(T, np.stack([mean.solver, mean.verifier])[None], 1 / one**2)
    assert both.parameters["rate"].value == pytest.approx(weighted.rate[0], rel=1e-5)


# --- tests -----------------------------------------------------------------------------------------------------------


def test_a_true_law_is_rejected_as_often_as_stated():
    rng, rejected, independent = np.random.default_rng(2), [], []
    for i in range(80):
        values = panel(T, 128, rng)
        run, covariance = run_of(values), PromptCovariance.of(values)
        found = over_population(T, [of(values)], 100, i)
        chances = [
            separate_rates(run, found).p_value,
            phase_plane(run, found).p_value,
            exponent_test(T, values.mean(axis=0), covariance),
            lack_of_fit(run, covariance),
        ]
        rejected.append(np.array(chances) < 0.05)
        independent.append(phase_plane(run).p_value < 0.05)
    assert (np.mean(rejected, axis=0) <= 0.125).all()  # .05 + 3 standard errors of .024
    assert np.mean(independent) > 0.2


def test_a_false_law_is_noticed():
    rng = np.random.default_rng(3)
    mean = np.stack([LAW.solver(T), 0.1 + 0.75 * np.exp(-1.0 * T)])
    values = panel(T, 512, rng, mean)
    found = over_population(T, [of(values)], 200, 0)
    test, phase = separate_rates(run_of(values), found), phase_plane(run_of(values), found)
    assert test.rejected
    assert test.low < float(LAW.rate) / 1.0 < test.high < 1
    assert phase.rejected
    assert phase.low < phase.bend < phase.high


def test_the_bow_of_an_affine_pair_is_0_and_of_a_parabola_its_depth():
    x = np.linspace(3, 1, 9)
    assert bend(np.stack([x, 0.2 + 0.5 * x]), np.empty((0, 2, 9)))[0] == pytest.approx(0, abs=1e-12)
    bowed = np.stack([x, 0.2 + 0.5 * x + 0.3 * (x - 2) ** 2])
    value, drawn, slope = bend(bowed, bowed[None])
    assert value == drawn[0] == pytest.approx(0.3)
    for c, t in ((0, 2), (1, 7)):
        moved = bowed + 0.0
        moved[c, t] += 1e-5
        # the unit, half the range, is held fixed
        assert slope[9 * c + t] == pytest.approx((bend(bowed, moved[None])[1][0] - value) / 1e-5, rel=1e-3)


def test_too_few_prompts_for_a_covariance_and_points_in_blocks():
    rng = np.random.default_rng(0)
    assert PromptCovariance.of(panel(T, 20, rng)) is None
    narrow, wide = PromptCovariance.of(panel(T, 32, rng)), PromptCovariance.of(panel(T, 128, rng))
    assert len(narrow.factor) == 22
    assert len(wide.factor) == 26
    assert narrow.blocks.sum(axis=1) == pytest.approx(np.ones(22))


# --- the energy's exponent -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.6, 1.0, 1.6, 3.0])
def test_the_law_with_an_exponent_solves_its_equation(p):
    alpha, beta, limit, start = 0.6, 0.24, 0.3, (2.8, 1.2)

    def flow(_: float, u: np.ndarray) -> list[float]:
        force = 0.5 * max(u[0] - u[1] - limit, 0.0) ** p
        return [-alpha * force, -beta * force]

    t = np.linspace(0, 6, 13)
    exact = solve_ivp(flow, (0, 6), start, t_eval=t, rtol=1e-10, atol=1e-12).y
    delta, rho = start[0] - start[1] - limit, beta / alpha
    come = decay(p)(0.5 * (alpha - beta) * delta ** (p - 1) * t)
    assert start[0] + delta / (1 - rho) * come == pytest.approx(exact[0], abs=1e-6)
    assert start[1] + rho * delta / (1 - rho) * come == pytest.approx(exact[1], abs=1e-6)


def test_exact_data_give_the_exponent_back_and_short_ones_do_not():
    t = np.linspace(0, 10, 21)
    curves = np.array([[2.8], [1.2]]) + np.array([[2.0], [0.7]]) * decay(1.6)(0.9 * t)
    found = fit_exponent(t, curves)
    assert found.value == pytest.approx(1.6, abs=1e-3)
    assert found.limits_free["solver"] == pytest.approx(0.8, abs=1e-3)
    assert found.limits_fixed["solver"] > 0.9
    noisy = curves[:, :6] + 0.05 * np.random.default_rng(0).standard_normal((2, 6))
    assert fit_exponent(t[:6], noisy).at_edge


def test_the_papers_curves_prefer_a_larger_exponent(shared):
    table = pd.read_csv(shared / "paper" / "phi4_mini_qe.csv")
    reported = {"gsm8k_qe": (4.9, 0.189, 0.072), "math_qe": (7.3, 0.145, 0.015)}  # of p = 1.6
    for name, (gain, fixed, free) in reported.items():
        run = read_curves(table[table.panel == name], name)
        curves = np.stack([run.solver, run.verifier])
        found = fit_exponent(run.epoch, curves)
        assert found.low < 1.6 < found.high
        assert found.value == pytest.approx(1.55, abs=0.1)
        assert found.aicc_gain == pytest.approx(gain, abs=0.3)
        assert found.limits_fixed["solver"] == pytest.approx(fixed, abs=0.003)
        at = project(run.epoch, curves[None], None, decay(1.6))
        assert float((at.start - at.fall)[0, 0]) == pytest.approx(free, abs=0.01)
        assert found.p_value < 0.02


# --- the forecast ----------------------------------------------------------------------------------------------------


def test_a_forecast_of_a_falling_curve_may_end_above_where_it_is():
    rng = np.random.default_rng(0)
    curves = law_curves(T) + 0.05 * rng.standard_normal((2, 13))
    said = forecast(T, curves[None], np.array([12.0, 30.0]))
    assert (said.high[0, :2] > curves[:, -1:]).any()


def test_what_missed_before_is_not_trusted_again():
    rng = np.random.default_rng(0)
    rises = law_curves(T) + 0.12 * np.maximum(T - 2, 0) + 0.003 * rng.standard_normal((2, 13))
    falls = law_curves(T) + 0.003 * rng.standard_normal((2, 13))
    ahead = np.array([7.0, 8.0])
    widths = [np.ptp(np.stack([s.low, s.high])[:, 0, 0], axis=0) for s in
              (forecast(T, one[None], ahead) for one in (rises, falls))]  # fmt: skip
    assert (widths[0] > 2 * widths[1]).all()
