import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp

from sivgap.dynamics.closed_form import Coupled
from sivgap.dynamics.fit import fit_coupled

LAW = Coupled(solver_initial=2.8, verifier_initial=1.2, gap_limit=0.4, rate=0.45, beta_over_alpha=0.4)


def test_the_closed_form_solves_the_coupled_equations():
    alpha, k = 1.0, LAW.rate / (1 - LAW.beta_over_alpha)
    beta, b = LAW.beta_over_alpha, k * LAW.gap_limit

    def flow(t, u):
        energy = k * (u[0] - u[1]) - b
        return [-alpha * energy, -beta * energy]

    t = np.linspace(0, 12, 40)
    start = [LAW.solver_initial, LAW.verifier_initial]
    truth = solve_ivp(flow, (0, 12), start, t_eval=t, rtol=1e-12, atol=1e-13).y
    assert LAW.solver(t) == pytest.approx(truth[0], abs=1e-9)
    assert LAW.verifier(t) == pytest.approx(truth[1], abs=1e-9)
    assert LAW.limits == pytest.approx([LAW.solver(np.array(1e3)), LAW.verifier(np.array(1e3)), LAW.gap_limit])


def test_exact_data_give_the_parameters_back_to_eight_digits():
    t = np.arange(0, 6.5, 0.5)
    fit = fit_coupled(t, LAW.solver(t), LAW.verifier(t))
    for name in ("solver_initial", "verifier_initial", "gap_limit", "rate", "beta_over_alpha"):
        assert getattr(fit.parameters, name) == pytest.approx(getattr(LAW, name), rel=1e-8)


def test_the_papers_r_squared_and_rates_are_reproduced(shared):
    curves = pd.read_csv(shared / "paper" / "phi4_mini_qe.csv")
    reported = {"math_qe": (0.348, 0.998, 0.981, 0.981), "gsm8k_qe": (0.386, 0.996, 0.966, 0.948)}
    for panel, (rate, *r2) in reported.items():
        one = curves[curves.panel == panel]
        fit = fit_coupled(*(one[c].to_numpy() for c in ("epoch", "solver_uncertainty", "verifier_uncertainty")))
        assert fit.parameters.rate == pytest.approx(rate, abs=1e-3)
        assert [fit.r2[who] for who in ("solver", "verifier", "gap")] == pytest.approx(r2, abs=1e-3)


def test_too_few_points_or_constant_curves_have_no_fit():
    t = np.arange(3.0)
    assert fit_coupled(t, LAW.solver(t), LAW.verifier(t)) is None
    t = np.arange(8.0)
    assert fit_coupled(t, LAW.solver(t), np.ones(8)) is None


def test_dynamics_report_and_progress_import_neither_torch_nor_transformers():
    code = (
        "import sys, sivgap.dynamics.fit, sivgap.report.summary, sivgap.config.app, sivgap.train, sivgap.runs.run;"
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
