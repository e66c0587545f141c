"""Runs with external data: the fit of gamma, and the best schedule under it."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import run_command

from sivgap.dynamics.allocation import best_schedule, end_state
from sivgap.dynamics.closed_form import Coupled
from sivgap.dynamics.cross import FORMS, curves
from sivgap.dynamics.cross_fit import fit_cross
from sivgap.dynamics.curves import Curves, read_curves
from sivgap.dynamics.schedules import schedules

LAW = Coupled(2.8, 1.2, 0.4, 0.35, 0.4)
HALVES = np.arange(0, 10.5, 0.5)
PLANS = {
    "none": (),
    "early": ((0.0, 0.3),),
    "uniform": tuple((float(i), 0.0375) for i in range(8)),
    "late": ((7.0, 0.3),),
}


def simulate(form: str, gamma: float = 1.5, noise: float = 0.0) -> list[Curves]:
    rng = np.random.default_rng(0)
    runs = []
    for name, arrivals in PLANS.items():
        both = curves(LAW, gamma, form, arrivals, HALVES)
        noisy = (curve + noise * rng.standard_normal(len(HALVES)) for curve in both)
        runs.append(Curves(name, HALVES, *noisy, arrivals=arrivals))
    return runs


def command(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command(folder, module, *arguments, seconds=120)


@pytest.mark.parametrize("form", FORMS)
def test_gamma_and_its_form_are_found(form):
    exact = fit_cross(simulate(form), intervals=False)
    assert exact.form == form
    assert exact.parameters["gamma"].value == pytest.approx(1.5, rel=1e-6)
    noisy = fit_cross(simulate(form, noise=0.01))
    assert noisy.form == form
    assert noisy.parameters["gamma"].low < 1.5 < noisy.parameters["gamma"].high
    assert noisy.order_free_error > 0.01  # the approximation is crude, and the fit says so


@pytest.mark.parametrize("form", FORMS)
def test_no_schedule_of_many_random_ones_beats_the_best(form):
    best = best_schedule(LAW, 1.5, form, 0.3, 10)
    assert best.sum() == pytest.approx(0.3)
    assert (best >= 0).all()
    least = end_state(LAW, 1.5, form, best)[0]
    rng = np.random.default_rng(0)
    others = [0.3 * rng.dirichlet(np.full(10, c)) for c in (0.1, 0.5, 1.0, 5.0) for _ in range(100)]
    for eta in (*others, *schedules(0.3, 10).values()):
        assert least <= end_state(LAW, 1.5, form, eta)[0] + 1e-9


def test_the_inverse_form_rewards_spreading_and_the_linear_one_does_not():
    stubborn = Coupled(1.0, 0.6, 0.05, 0.3, 0.05)  # a verifier that hardly improves by itself
    best = best_schedule(stubborn, 5.0, "inverse", 0.5, 24)
    early = schedules(0.5, 24)["early"]
    assert (best > 0.01).sum() > 8
    assert end_state(stubborn, 5.0, "inverse", best)[0] < 0.6 * end_state(stubborn, 5.0, "inverse", early)[0]
    assert end_state(LAW, 1.5, "linear", schedules(0.3, 10)["early"])[0] == pytest.approx(
        end_state(LAW, 1.5, "linear", best_schedule(LAW, 1.5, "linear", 0.3, 10))[0], abs=1e-3
    )


def test_arrivals_are_read_from_what_was_newly_given_by_a_measurement():
    columns = {"solver_uncertainty": [5, 4, 3, 2, 1.0], "verifier_uncertainty": [3, 2.5, 2, 1.5, 1]}
    frame = pd.DataFrame({"epoch": [0, 0.5, 1, 1.5, 2], **columns, "external_new": [0, 0.2, 0, 0.1, 0]})
    assert read_curves(frame, "x").arrivals == ((0.0, 0.2), (1.0, 0.1))
    assert read_curves(frame, "x").until(1.5).arrivals == ((0.0, 0.2), (1.0, 0.1))


def write(folder: Path) -> None:
    frames = []
    for run in simulate("inverse", noise=0.01):
        given = {next(t for t in HALVES if t > when): eta for when, eta in run.arrivals}
        frames.append(pd.DataFrame({"run": run.name, "epoch": HALVES, "solver_uncertainty": run.solver,
                                    "verifier_uncertainty": run.verifier,
                                    "external_new": [given.get(t, 0.0) for t in HALVES]}))  # fmt: skip
    pd.concat(frames).to_csv(folder / "cross.csv", index=False)


def test_from_a_table_to_the_best_schedule(tmp_path):
    write(tmp_path)
    fitted = command(tmp_path, "fit", "csv=cross.csv", "bootstrap=0")
    assert fitted.returncode == 0, fitted.stderr
    found = json.loads((tmp_path / "fits/cross/fit.json").read_text())
    assert found["coupled"]["parameters"]["gamma"]["value"] == pytest.approx(1.5, abs=0.2)
    assert found["cross"]["form"] == "inverse"
    done = command(tmp_path, "allocate", "fit=fits/cross/fit.json", "budget=0.3", "horizon=10")
    assert done.stdout.strip() == "fits/cross/allocation.json", done.stderr
    plans = json.loads((tmp_path / "fits/cross/allocation.json").read_text())["plans"]
    assert [plan["name"] for plan in plans] == ["best", "none", "early", "uniform", "late"]
    for plan in plans[1:]:
        assert plan["excess_over_best"]["value"] >= 0
        assert plan["solver"]["low"] <= plan["solver"]["value"] <= plan["solver"]["high"]
    assert (tmp_path / "fits/cross/figures/allocation.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("fit=absent.json", "budget=0.3", "horizon=10"), 2, "no such file"),
        (("fit=broken.json", "budget=0.3", "horizon=10"), 1, "cannot be read|not a fit"),
        (("fit=plain.json", "budget=0.3", "horizon=10"), 2, "no gamma"),
        (("fit=plain.json", "budget=1.3", "horizon=10"), 2, "budget"),
        (("fit=plain.json", "budget=0.3"), 2, "horizon"),
        (("fit=strange.json", "budget=0.3", "horizon=10", "gamma=1"), 1, "expected inverse, linear, additive"),
    ],
)
def test_what_cannot_be_allocated_is_one_sentence(tmp_path, arguments, status, said):
    import re

    (tmp_path / "broken.json").write_text("{")
    parameters = {name: {"value": getattr(LAW, name)} for name in LAW.__dataclass_fields__}
    (tmp_path / "plain.json").write_text(json.dumps({"coupled": {"parameters": parameters}}))
    strange = {"coupled": {"parameters": parameters}, "cross": {"form": "sideways"}}
    (tmp_path / "strange.json").write_text(json.dumps(strange))
    done = command(tmp_path, "allocate", *arguments)
    assert done.returncode == status, done.stderr
    assert re.search(said, done.stderr)
    assert "Traceback" not in done.stderr
    if "no gamma" in said:
        assert command(tmp_path, "allocate", *arguments, "gamma=1.0").returncode == 0
