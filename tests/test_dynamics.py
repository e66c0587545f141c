import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from sivgap.dynamics.closed_form import Coupled, Rates
from sivgap.dynamics.cross import FORMS, additive_limit, curves, order_free, recurrence
from sivgap.dynamics.curves import Curves, read_curves
from sivgap.dynamics.equations import (
    continuous_rate,
    discrete,
    discrete_rate,
    integrate,
    linear_energy,
    tangent,
)
from sivgap.dynamics.fit import PARAMETERS, fit_coupled
from sivgap.errors import RunError

RATES = Rates(alpha=0.6, beta=0.24, k=1.25, b=0.5)
LAW = Coupled.from_rates(RATES, solver_initial=2.8, verifier_initial=1.2)
HALVES = np.arange(0, 10.5, 0.5)


def run(law: Coupled = LAW, epoch=HALVES, noise: float = 0.0, seed: int = 0) -> Curves:
    rng = np.random.default_rng(seed)
    return Curves(
        "simulated",
        epoch,
        law.solver(epoch) + noise * rng.standard_normal(len(epoch)),
        law.verifier(epoch) + noise * rng.standard_normal(len(epoch)),
    )


# --- the law ---------------------------------------------------------------------------------------------------------


def test_the_closed_form_solves_the_coupled_equations():
    t = np.linspace(0, 12, 40)
    solver, verifier = integrate(t, 2.8, 1.2, RATES.alpha, RATES.beta, linear_energy(RATES.k, RATES.b))
    assert LAW.solver(t) == pytest.approx(solver, abs=1e-9)
    assert LAW.verifier(t) == pytest.approx(verifier, abs=1e-9)
    assert LAW.gap(t) == pytest.approx(solver - verifier, abs=1e-9)


def test_limits_are_where_a_long_integration_ends():
    far = np.array([0.0, 80.0])
    solver, verifier = integrate(far, 2.8, 1.2, RATES.alpha, RATES.beta, linear_energy(RATES.k, RATES.b))
    assert LAW.limits == pytest.approx([solver[-1], verifier[-1], solver[-1] - verifier[-1]], abs=1e-9)
    a, b, k = RATES.alpha, RATES.beta, RATES.k  # SV Prop. 3.1
    assert LAW.limits[0] == pytest.approx((a * 1.2 - b * 2.8 + a * RATES.b / k) / (a - b), abs=1e-12)
    assert LAW.limits[1] == pytest.approx((a * 1.2 - b * 2.8 + b * RATES.b / k) / (a - b), abs=1e-12)


@pytest.mark.parametrize("c", [0.1, 3.0, 50.0])
def test_scaling_the_rates_changes_nothing_that_can_be_seen(c):
    scaled = Coupled.from_rates(Rates(c * RATES.alpha, c * RATES.beta, RATES.k / c, RATES.b / c), 2.8, 1.2)
    for name in PARAMETERS:
        assert getattr(scaled, name) == pytest.approx(getattr(LAW, name), rel=1e-14)
    assert scaled.rates().k == 1.0
    assert scaled.rates().alpha == pytest.approx(LAW.rates().alpha, rel=1e-14)


def test_the_conserved_quantity_is_conserved_by_the_equations():
    t = np.linspace(0, 20, 50)
    solver, verifier = integrate(t, 2.8, 1.2, RATES.alpha, RATES.beta, linear_energy(RATES.k, RATES.b))
    assert np.ptp(RATES.alpha * verifier - RATES.beta * solver) < 1e-9
    assert LAW.conserved(t) == pytest.approx(verifier - RATES.beta / RATES.alpha * solver, abs=1e-9)


def test_sensitivity_of_the_limit_to_the_initial_gap_in_both_readings():
    def end(solver: float, verifier: float) -> float:
        far = np.array([0.0, 80.0])
        return integrate(far, solver, verifier, RATES.alpha, RATES.beta, linear_energy(RATES.k, RATES.b))[0][-1]

    h = 1e-3
    better_verifier = (end(2.8, 1.2 - h) - end(2.8, 1.2 + h)) / (2 * h)
    worse_solver = (end(2.8 + h, 1.2) - end(2.8 - h, 1.2)) / (2 * h)
    assert LAW.limit_sensitivity("solver") == pytest.approx(better_verifier, abs=1e-9)
    assert LAW.limit_sensitivity("verifier") == pytest.approx(worse_solver, abs=1e-9)


@pytest.mark.parametrize("curve", ["solver", "verifier", "gap"])
def test_time_to_come_within_epsilon_of_the_limit(curve):
    when = LAW.time_to_limit(0.01, curve)
    end = LAW.limits[("solver", "verifier", "gap").index(curve)]
    assert getattr(LAW, curve)(when) - end == pytest.approx(0.01, abs=1e-12)
    assert LAW.time_to_limit(100.0, curve) == 0


def test_the_tangent_to_an_energy_gives_the_law_near_the_start():
    def energy(gap: float) -> float:
        return 0.4 * gap**1.7 - 0.1

    k, b = tangent(energy, 1.6)
    assert k == pytest.approx(0.4 * 1.7 * 1.6**0.7, rel=1e-8)
    assert k * 1.6 - b == pytest.approx(energy(1.6), rel=1e-12)
    t = np.linspace(0, 0.05, 5)
    solver, _ = integrate(t, 2.8, 1.2, 0.6, 0.24, energy)
    assert Coupled.from_rates(Rates(0.6, 0.24, k, b), 2.8, 1.2).solver(t) == pytest.approx(solver, abs=1e-5)


def test_the_unit_step_map_is_the_law_of_its_own_continuous_rate():
    rates = Rates(0.2, 0.05, 1.0, 0.05)
    solver, verifier = discrete(12, 1.0, 0.6, rates)
    shrink = rates.k * (rates.alpha - rates.beta)
    law = Coupled(1.0, 0.6, rates.b / rates.k, continuous_rate(shrink), rates.beta / rates.alpha)
    assert law.solver(np.arange(13.0)) == pytest.approx(solver, abs=1e-12)
    assert law.verifier(np.arange(13.0)) == pytest.approx(verifier, abs=1e-12)
    assert discrete_rate(continuous_rate(shrink)) == pytest.approx(shrink, rel=1e-14)


def test_many_parameter_sets_at_once_are_each_alone():
    rates = np.array([0.2, 0.5, 1.0])
    many = Coupled(2.8, 1.2, 0.4, rates, 0.4)
    assert many.solver(HALVES).shape == (3, len(HALVES))
    for i, rate in enumerate(rates):
        assert many.gap(HALVES)[i] == pytest.approx(Coupled(2.8, 1.2, 0.4, rate, 0.4).gap(HALVES), abs=1e-14)


# --- cross-improvement -----------------------------------------------------------------------------------------------

PLANS = {"early": {0: 0.3}, "uniform": dict.fromkeys(range(8), 0.0375), "late": {7: 0.3}, "none": {}}
CROSS = Rates(0.2, 0.05, 1.0, 0.05)


def shares(plan: str) -> np.ndarray:
    return np.array([PLANS[plan].get(t, 0.0) for t in range(16)])


def test_end_states_of_the_allocations_are_those_of_theory_section_3():
    exact = {plan: recurrence((1.0, 0.6), CROSS, 0.5, "linear", shares(plan))[0][-1] for plan in PLANS}
    assert exact == pytest.approx({"early": 0.4569, "uniform": 0.4792, "late": 0.4880, "none": 0.5680}, abs=5e-5)
    assert order_free((1.0, 0.6), CROSS, 0.5, 0.3, 16)[0] == pytest.approx(0.5133, abs=5e-5)
    assert order_free((1.0, 0.6), CROSS, 0.5, 0.0, 16)[0] == pytest.approx(0.5757, abs=5e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("plan", PLANS)
def test_the_continuous_curves_pass_through_the_recurrence(form, plan):
    law = Coupled(1.0, 0.6, 0.05, continuous_rate(0.15), 0.25)
    arrivals = [(float(t), eta) for t, eta in PLANS[plan].items()]
    solver, verifier = curves(law, 0.5, form, arrivals, np.arange(0, 16.5, 0.5))
    exact = recurrence((1.0, 0.6), CROSS, 0.5, form, shares(plan))
    assert solver[::2] == pytest.approx(exact[0], abs=1e-12)
    assert verifier[::2] == pytest.approx(exact[1], abs=1e-12)


def test_timing_does_not_matter_in_the_additive_form_alone():
    law = Coupled(1.0, 0.6, 0.05, continuous_rate(0.15), 0.25)
    far = np.array([400.0])
    ends = {
        form: [
            float(curves(law, 0.5, form, [(float(t), eta) for t, eta in PLANS[plan].items()], far)[0][0])
            for plan in ("early", "uniform", "late")
        ]
        for form in FORMS
    }
    assert np.ptp(ends["additive"]) < 1e-12
    assert ends["additive"][0] == pytest.approx(additive_limit(law, 0.5, 0.3)[0], abs=1e-12)
    assert np.ptp(ends["linear"]) > 0.01
    assert np.ptp(ends["inverse"]) > 0.01


# --- the fit ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.05, 0.45, 3.0])
@pytest.mark.parametrize("ratio", [0.0, 0.4, 0.9])
def test_exact_data_give_the_parameters_back_to_eight_digits(rate, ratio):
    law = Coupled(2.8, 1.2, 0.4, rate, ratio)
    if ratio == 0.0:
        law = Coupled(2.8, 1.2, 0.4, rate, 1e-3)  # at 0 the verifier never moves, and there is nothing to fit
    fit = fit_coupled(run(law), intervals=False)
    for name in PARAMETERS:
        assert fit.parameters[name].value == pytest.approx(getattr(law, name), rel=1e-8)


def test_the_papers_r_squared_and_rates_are_reproduced(shared):
    table = pd.read_csv(shared / "paper" / "phi4_mini_qe.csv")
    reported = {"math_qe": (0.348, 0.998, 0.981, 0.981), "gsm8k_qe": (0.386, 0.996, 0.966, 0.948)}
    for panel, (rate, *r2) in reported.items():
        fit = fit_coupled(read_curves(table[table.panel == panel], panel), intervals=False)
        assert fit.parameters["rate"].value == pytest.approx(rate, abs=1e-3)
        assert [fit.r2[who] for who in ("solver", "verifier", "gap")] == pytest.approx(r2, abs=1e-3)


def test_intervals_hold_the_estimate_and_widen_with_the_noise():
    quiet, loud = (fit_coupled(run(noise=noise)) for noise in (0.005, 0.05))
    for fit in (quiet, loud):
        for estimate in (*fit.parameters.values(), *fit.limits.values()):
            assert estimate.low < estimate.value < estimate.high
    assert all(
        loud.parameters[n].high - loud.parameters[n].low > 3 * (quiet.parameters[n].high - quiet.parameters[n].low)
        for n in PARAMETERS
    )


def test_a_joint_fit_of_seeds_shares_what_it_is_told_to_and_no_more():
    other = Coupled(3.1, 1.5, 0.4, LAW.rate, LAW.beta_over_alpha)
    fit = fit_coupled(
        [run(noise=0.01), run(other, noise=0.01, seed=1)], shared=["rate", "beta_over_alpha", "gap_limit"]
    )
    assert fit.laws[0].rate == fit.laws[1].rate
    assert fit.laws[0].solver_initial == pytest.approx(2.8, abs=0.03)
    assert fit.laws[1].solver_initial == pytest.approx(3.1, abs=0.03)


def test_one_wild_point_moves_the_huber_fit_less():
    wild = run(noise=0.01)
    wild.solver[7] += 1.5
    off = {
        w: abs(fit_coupled(wild, weights=w).limits["solver"].value - float(LAW.limits[0])) for w in ("equal", "huber")
    }
    assert off["huber"] < off["equal"] / 5


NIST = {  # StRD nonlinear regression, y = b1 (1 - exp(-b2 x)): data, and certified b1 and b2
    "BoxBOD": (
        [1, 2, 3, 5, 7, 10],
        [109, 149, 149, 191, 213, 224],
        (2.1380940889e02, 5.4723748542e-01),
    ),
    "Misra1a": (
        [77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0],
        [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78],
        (2.3894212918e02, 5.5015643181e-04),
    ),
}


@pytest.mark.parametrize("name", NIST)
def test_certified_values_of_nist_are_reproduced(name):
    x, y, (limit, rate) = NIST[name]
    epoch, curve = np.array([0.0, *x]), np.array([0.0, *y])
    error = np.array([1e-4, *np.ones(len(x))])  # the certified model passes through the origin
    fit = fit_coupled(Curves(name, epoch, curve, 0.5 * curve, error, error), weights="stderr", intervals=False)
    assert fit.parameters["rate"].value == pytest.approx(rate, rel=3e-6)
    assert fit.limits["solver"].value == pytest.approx(limit, rel=3e-6)
    assert fit.limits["verifier"].value == pytest.approx(limit / 2, rel=3e-6)


# --- what strangers feed it ------------------------------------------------------------------------------------------


def table(rows: int = 8) -> pd.DataFrame:
    t = np.arange(float(rows))
    return pd.DataFrame({"epoch": t, "solver_uncertainty": LAW.solver(t), "verifier_uncertainty": LAW.verifier(t)})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.head(2), "at least 4"),
        (lambda f: f.drop(columns="verifier_uncertainty"), "no column verifier_uncertainty"),
        (lambda f: f.assign(solver_uncertainty=1.0), "never changes"),
        (lambda f: f.assign(epoch=[0, 1, 2, 3, 3, 4, 5, 6]), "comes more than once"),
        (lambda f: f.assign(epoch=f.epoch - 3), "negative"),
        (lambda f: f.assign(solver_uncertainty=["1", "2", "three", "4", "5", "6", "7", "8"]), "'three'"),
        (lambda f: f.assign(solver_uncertainty=np.inf), "infinite"),
    ],
)
def test_what_cannot_be_fitted_is_said_plainly(change, said):
    with pytest.raises(RunError, match=said):
        read_curves(change(table()), "file.csv")


def test_missing_values_are_left_out_and_disorder_is_put_right_with_a_note():
    frame = table()
    frame.loc[2, "solver_uncertainty"] = np.nan
    read = read_curves(frame.sample(frac=1, random_state=0), "file.csv")
    assert len(read.epoch) == 7
    assert list(read.epoch) == sorted(read.epoch)
    assert any("left out" in note for note in read.notes)
    assert any("sorted" in note for note in read.notes)


def test_dynamics_gap_report_and_progress_import_neither_torch_nor_transformers():
    code = (
        "import sys, sivgap.dynamics.fit, sivgap.dynamics.forecast, sivgap.report.summary, sivgap.config.app;"
        "import sivgap.train, sivgap.runs.run, sivgap.gap, importlib, pkgutil;"
        "[importlib.import_module('sivgap.gap.' + m.name) for m in pkgutil.iter_modules(sivgap.gap.__path__)];"
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
