"""Cross-improvement over prompts: gamma by a common draw, and directly from the verifier's jump at an arrival."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_inference import epochs, of

from sivgap.dynamics.arrivals import Arrival, direct_gamma
from sivgap.dynamics.cross import FORMS, effect
from sivgap.dynamics.cross_fit import NAMES, fit_cross
from sivgap.dynamics.cross_population import refit, sweep_of
from sivgap.dynamics.curves import Curves
from sivgap.dynamics.population import PromptCurves
from sivgap.runs.load_curves import arrivals_of

from inference.curves import sweep  # isort: skip - test_inference finds it

T = epochs(13)
PLANS = {"none": (), "early": ((0.0, 0.3),), "late": ((3.0, 0.3),)}


def made(gamma: float, prompts: int, seed: int, form: str = "inverse") -> tuple[list[Curves], list]:
    values = sweep(T, prompts, gamma, form, PLANS, np.random.default_rng(seed))
    runs = [Curves(name, T, *one.mean(axis=0), arrivals=PLANS[name]) for name, one in values.items()]
    return runs, [of(one) for one in values.values()]


def test_side_by_side_refits_are_those_of_lmfit():
    runs, prompts = made(0.8, 200, 0)
    found = fit_cross(runs, intervals=False)
    values = np.array([found.parameters[name].value for name in NAMES])
    sweep_ = sweep_of(runs, prompts)
    near = values * np.array([1.02, 0.98, 1.05, 1.1, 0.97, 1.2])
    again = refit(sweep_, found.form, near, np.stack([sweep_.mean, sweep_.mean]), (-3.0, np.inf))
    assert again == pytest.approx(np.stack([values, values]), rel=1e-3)


def test_gammas_interval_is_of_the_population_and_holds_it():
    held, told = [], []
    for seed in range(2):
        runs, prompts = made(0.8, 200, seed)
        found = fit_cross(runs, prompts=prompts)
        gamma = found.gamma["inverse"]
        assert found.by_prompts
        assert gamma.low < gamma.value < gamma.high
        held.append(gamma.low <= 0.8 <= gamma.high)
        told.append(found.form)
        assert found.draws.shape[1] == 6
    assert sum(held) >= 1
    assert sum(found.support.values()) == pytest.approx(1)
    assert not fit_cross(runs).by_prompts  # curves alone say nothing of prompts


def jumps(gamma: float, form: str, prompts: int, count: int, rng: np.random.Generator) -> list[Arrival]:
    """Arrivals at which those given a response lose what the form says on average."""
    found = []
    for epoch in range(count):
        own, given = rng.lognormal(0, 0.8, prompts), (rng.random(prompts) < 0.25).astype(float)
        fall = own.mean() - float(effect(np.array(own.mean()), given.mean(), gamma, form))
        weight = rng.lognormal(0, 0.5, prompts)
        after = own - given * fall * weight / (given * weight).mean()
        values = np.stack([own, after, given], axis=1)
        found.append(Arrival("run", float(epoch), *values.mean(axis=0)[[2, 0, 1]], values))
    return found


@pytest.mark.parametrize("form", FORMS)
def test_gamma_is_read_off_the_jump(form):
    found = direct_gamma(jumps(0.6, form, 300, 3, np.random.default_rng(0)))
    for gamma in found.each:
        assert gamma[form].value == pytest.approx(0.6)
        assert gamma[form].low < 0.6 < gamma[form].high
    assert found.pooled[form].value == pytest.approx(0.6)
    assert found.equal[form] > 0.05
    apart = [*jumps(0.2, form, 300, 1, np.random.default_rng(1)), *jumps(2.0, form, 300, 1, np.random.default_rng(2))]
    assert direct_gamma(apart).equal[form] < 0.01


def test_without_prompts_a_jump_has_a_value_and_no_interval():
    found = direct_gamma([Arrival("run", 2.0, 0.25, 1.0, 0.8)])
    assert found.pooled["additive"].value == pytest.approx(0.8)
    assert found.pooled["linear"].value == pytest.approx(0.8)
    assert found.pooled["inverse"].value == pytest.approx(1.0)
    assert found.pooled["inverse"].low is None
    assert direct_gamma([]) is None


def write(folder: Path, given: float | None) -> None:
    """Two measurements of a training panel of 12 prompts; three are given a response right after the first."""
    (folder / "samples").mkdir(parents=True)
    rows = [
        {"split": "train", "problem_id": f"p{p:02}", "sample": 0, "nll": 1.0 + p / 10, "selected": True}
        for p in range(12)
    ]
    rows += [
        {"split": "train", "problem_id": f"p{p:02}", "sample": -1, "nll": 0.5, "selected": False} for p in (1, 5, 7)
    ]
    pd.DataFrame(rows).to_parquet(folder / "samples" / "epoch=000.00.parquet")
    lines = [
        {"epoch": 0.0, "split": "train", "verifier_uncertainty": 1.55, "external_new": 0.0},
        {"epoch": 0.5, "split": "train", "verifier_uncertainty": 1.2, "external_new": 0.2},
    ]
    if given is not None:
        lines[0]["verifier_uncertainty_given"] = given
    (folder / "trajectory.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_arrivals_are_read_with_the_panels_own_share_and_are_missing_in_old_runs(tmp_path):
    write(tmp_path / "new", 1.3)
    write(tmp_path / "old", None)
    (found,) = arrivals_of(tmp_path / "new")
    assert (found.epoch, found.eta, found.before) == (0.0, pytest.approx(0.25), pytest.approx(1.55))
    assert found.after == pytest.approx(1.55 - (0.6 + 1.0 + 1.2) / 12)
    assert found.prompts.shape == (12, 3)
    assert arrivals_of(tmp_path / "old") == []
    assert arrivals_of(tmp_path / "new", until=0.0) == []
    (tmp_path / "new" / "samples" / "epoch=000.00.parquet").unlink()
    (bare,) = arrivals_of(tmp_path / "new")
    assert (bare.eta, bare.after, bare.prompts) == (0.2, 1.3, None)


def test_refits_of_curves_that_say_nothing_of_the_rate_stay_numbers(monkeypatch):
    epoch, rng = np.arange(0, 2.5, 0.5), np.random.default_rng(0)
    level = rng.gamma(4, 0.25, (12, 1))
    noise = 0.3 * rng.normal(size=(3, 2, 12, 5))
    prompts = [PromptCurves(level + a, level / 2 + b, tuple(map(str, range(12)))) for a, b in noise]
    arrivals = (), ((0.0, 0.5),), ((1.5, 0.5),)
    runs = [
        Curves(str(i), epoch, one.solver.mean(axis=0), one.verifier.mean(axis=0), arrivals=when)
        for i, (one, when) in enumerate(zip(prompts, arrivals, strict=True))
    ]
    monkeypatch.setattr("sivgap.dynamics.cross_fit.profile", lambda *_: (None, None))  # it is slow on such data
    found = fit_cross(runs, prompts=prompts)
    assert np.isfinite(found.draws).all()
    assert (found.draws[:, 3] > 0).all()
    assert all(np.isfinite(end.value) for end in found.limits.values())
