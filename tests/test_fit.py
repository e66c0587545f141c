"""`python -m sivgap.fit` as a user types it, the verdict, and the forecast."""

import json
import resource
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import run_command

from sivgap.dynamics.analysis import analyse
from sivgap.dynamics.bootstrap import over_residuals, percentiles
from sivgap.dynamics.closed_form import Coupled
from sivgap.dynamics.curves import Curves
from sivgap.dynamics.families import MOST_POINTS, blocks
from sivgap.dynamics.fit import PARAMETERS, fit_coupled
from sivgap.dynamics.forecast import FORECASTERS, combination, forecast
from sivgap.dynamics.population import PromptCurves
from sivgap.dynamics.verdict import linearity, separate_rates
from sivgap.runs.load_curves import prompt_curves
from sivgap.tracking.wandb_run import flatten

LAW = Coupled(2.8, 1.2, 0.4, 0.45, 0.4)
HALVES = np.arange(0, 10.5, 0.5)


def fit(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return run_command(folder, "fit", *arguments, seconds=120, **env)


def write(folder: Path, epoch=HALVES, law: Coupled = LAW, noise: float = 0.01, **columns) -> Path:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "epoch": epoch,
            "solver_uncertainty": law.solver(epoch) + noise * rng.standard_normal(len(epoch)),
            "verifier_uncertainty": law.verifier(epoch) + noise * rng.standard_normal(len(epoch)),
        }
    ).assign(**columns)
    frame.to_csv(folder / "curves.csv", index=False)
    return folder / "curves.csv"


def result(folder: Path, done: subprocess.CompletedProcess[str]) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads((folder / done.stdout.splitlines()[-1]).read_text())


def test_fit_json_has_everything_that_the_contract_names(tmp_path):
    write(tmp_path)
    found = result(tmp_path, fit(tmp_path, "csv=curves.csv", "until=6", "horizon=12"))
    coupled = found["coupled"]
    for name in PARAMETERS:
        estimate = coupled["parameters"][name]
        assert set(estimate) == {"value", "stderr", "low", "high", "panel_low", "panel_high"}
        assert (estimate["low"], estimate["high"]) == (estimate["panel_low"], estimate["panel_high"])  # of a table
        assert estimate["low"] < getattr(LAW, name) < estimate["high"]
    assert set(coupled["limits"]) == set(coupled["r2"]) == {"solver", "verifier", "gap"}
    assert {"aicc", "reduced_chi2", "conserved_drift", "gauge"} <= set(coupled)
    assert coupled["gauge"]["k"] == 1
    assert {"solver", "verifier", "gap", "test"} <= set(found["separate_rates"])
    assert set(found["linearity"]) == {"r2", "slope", "slope_lagged", "rate"}
    assert coupled["intervals"]["of"] == "this panel"
    assert any("conditional on this panel" in sentence for sentence in found["warnings"])
    assert found["separate_rates"]["test"]["of"] == found["phase_plane"]["of"] == "residuals taken as independent"
    assert {"value", "low", "high", "at_edge", "limits_p_1", "limits_free_p"} <= set(found["exponent"])
    assert set(found["rivals"]) == set(FORECASTERS)
    said = found["forecast"]
    assert said["horizon"] == 12
    for curve in ("solver", "verifier", "gap"):
        assert [p["epoch"] for p in said[curve]][-1] == 12
        assert set(HALVES[HALVES > 6]) <= {p["epoch"] for p in said[curve]}
        assert all(p["low"] <= p["value"] <= p["high"] for p in said[curve])
        assert set(said["limit"][curve]) == {"value", "low", "high", "panel_low", "panel_high"}
    assert isinstance(found["warnings"], list)
    assert (tmp_path / "fits" / "curves" / "figures" / "fit.pdf").is_file()


def test_a_run_directory_is_fitted_in_place_and_its_prompts_are_resampled(tmp_path):
    run = make_run(tmp_path / "runs" / "one")
    done = fit(tmp_path, "runs=runs/one")
    assert done.stdout.strip() == "runs/one/fit.json"
    one = result(tmp_path, done)
    assert (one["solver_estimate"], one["coupled"]["weights"]) == ("all", "smoothed")
    assert one["coupled"]["bootstrap"]["over"] == "prompts"
    assert one["coupled"]["intervals"]["of"] == one["separate_rates"]["test"]["of"] == "population of prompts"
    rate, limit = one["coupled"]["parameters"]["rate"], one["forecast"]["limit"]["solver"]
    assert (rate["low"], rate["high"]) != (rate["panel_low"], rate["panel_high"])
    assert limit["low"] <= limit["panel_low"] <= limit["panel_high"] <= limit["high"]
    assert (run / "figures" / "fit.png").is_file()
    make_run(tmp_path / "runs" / "other", seed=1)
    both = result(tmp_path, fit(tmp_path, "runs='runs/o*'"))
    assert len(both["runs"]) == 2
    assert both["coupled"]["bootstrap"]["over"] == "seeds and prompts"
    asked = result(tmp_path, fit(tmp_path, "runs=runs/one", "solver=first", "weights=equal"))
    assert (asked["solver_estimate"], asked["coupled"]["weights"]) == ("first", "equal")


def make_run(folder: Path, seed: int = 0, prompts: int = 40, samples: int = 2) -> Path:
    """A run directory as training writes it, reduced to what a fit reads."""
    rng = np.random.default_rng(seed)
    (folder / "samples").mkdir(parents=True)
    own = rng.gamma(4, 0.25, prompts)
    lines = []
    for epoch in np.arange(0, 5.5, 0.5):
        nll = own[:, None] * LAW.solver(epoch) * rng.gamma(50, 0.02, (prompts, samples))
        nll[:, 0] = own * LAW.verifier(epoch)
        rows = [
            {"split": "test", "problem_id": f"p{p}", "sample": n, "nll": nll[p, n], "selected": n == 0}
            for p in range(prompts) for n in range(samples)
        ]  # fmt: skip
        pd.DataFrame(rows).to_parquet(folder / "samples" / f"epoch={epoch:06.2f}.parquet")
        means = {"solver_uncertainty": nll[:, 1], "solver_uncertainty_all": nll.mean(1),
                 "verifier_uncertainty": nll[:, 0]}  # fmt: skip
        errors = {f"{name}_se": values.std() / prompts**0.5 for name, values in means.items()}
        lines.append({"epoch": epoch, "split": "test", **{n: v.mean() for n, v in means.items()}, **errors})
    (folder / "trajectory.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_help_is_quick(tmp_path):
    """Seconds of processor time, which other work on the machine does not change."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert fit(tmp_path, "--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 1.5


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ((), 2, "expected one of runs=DIR"),
        (("csv=a.csv", "runs=b"), 2, "got runs and csv"),
        (("csv=absent.csv",), 2, "no such file"),
        (("runs=absent",), 2, "no run directory"),
        (("csv=curves.csv", "weights=best"), 2, "weights"),
        (("csv=curves.csv", "until=1"), 1, "at least 4"),
        (("csv=curves.csv", "weights=stderr"), 1, "standard error"),
        (("csv=binary.csv",), 1, "binary.csv"),
        (("csv=empty.csv",), 1, "empty.csv"),
        (("wandb=just-a-name",), 2, "ENTITY/PROJECT/RUN"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tmp_path, arguments, status, said):
    write(tmp_path)
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    (tmp_path / "empty.csv").write_text("")
    done = fit(tmp_path, *arguments)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "fits").exists()


STREAMED = """
import json, pathlib
class Api:
    def run(self, name):
        if name != "me/sivgap/good":
            raise ValueError("could not find run")
        return self
    def scan_history(self):
        return json.loads((pathlib.Path(__file__).parent / "history.json").read_text())
"""


def test_a_run_on_wandb_is_read_as_it_was_streamed(tmp_path):
    (tmp_path / "wandb.py").write_text(STREAMED)  # the service's own client needs the service
    lines = [
        {"epoch": float(t), "split": split, "solver_uncertainty": float(LAW.solver(t)),
         "verifier_uncertainty": float(LAW.verifier(t)), "pass_at_k": {"1": 0.5, "8": None}}
        for t in HALVES for split in ("train", "test")
    ]  # fmt: skip
    history = [flatten(train) | flatten(test) for train, test in zip(lines[::2], lines[1::2], strict=True)]
    (tmp_path / "history.json").write_text(json.dumps([*history, history[-1], {"epoch": 10.0, "other": 1}]))
    path = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[1]}"}
    done = fit(tmp_path, "wandb=me/sivgap/good", "bootstrap=0", **path)
    assert done.stdout.strip() == "fits/good/fit.json", done.stderr
    found = result(tmp_path, done)
    assert found["coupled"]["parameters"]["rate"]["value"] == pytest.approx(LAW.rate, rel=1e-6)
    absent = fit(tmp_path, "wandb=me/sivgap/absent", **path)
    assert absent.returncode == 1
    assert "could not find run" in absent.stderr
    assert "Traceback" not in absent.stderr


def simulate(law: Coupled, noise: float, points: int = 21, seed: int = 0) -> Curves:
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 10, points)
    return Curves("x", t, *(getattr(law, c)(t) + noise * rng.standard_normal(points) for c in ("solver", "verifier")))


@pytest.mark.parametrize(
    ("law", "said"),
    [
        (Coupled(1.0, 0.6, 0.8, 0.45, 0.4), "rises"),
        (Coupled(2.8, 1.2, 0.4, 0.02, 0.4), "not identified"),
        (Coupled(2.8, 2.4, 1.2, 0.3, 2.0), "beta < alpha"),
    ],
)
def test_a_fit_that_means_little_says_so(tmp_path, law, said):
    write(tmp_path, law=law)
    assert any(said in sentence for sentence in result(tmp_path, fit(tmp_path, "csv=curves.csv"))["warnings"])


def test_a_hundred_thousand_points_are_fitted(tmp_path):
    write(tmp_path, epoch=np.linspace(0, 10, 100_000))
    found = result(tmp_path, fit(tmp_path, "csv=curves.csv", "bootstrap=20"))
    assert found["coupled"]["parameters"]["rate"]["value"] == pytest.approx(LAW.rate, rel=0.01)


def test_several_runs_in_one_file_need_a_column_that_tells_them_apart(tmp_path):
    path = write(tmp_path)
    one = pd.read_csv(path)
    pd.concat([one, one]).to_csv(path, index=False)
    done = fit(tmp_path, "csv=curves.csv")
    assert done.returncode == 1
    assert "column 'run'" in done.stderr
    pd.concat([one.assign(run="a"), one.assign(run="b")]).to_csv(path, index=False)
    assert len(result(tmp_path, fit(tmp_path, "csv=curves.csv"))["runs"]) == 2


# --- the verdict -----------------------------------------------------------------------------------------------------


def test_a_shared_rate_is_rejected_five_times_in_a_hundred_when_it_is_true():
    rejected = [separate_rates(simulate(LAW, 0.02, seed=s)).rejected for s in range(120)]
    assert 0.005 < np.mean(rejected) < 0.12  # binomial: .05 +- 2.5 standard errors of .02


def test_different_rates_are_noticed():
    t = np.linspace(0, 10, 21)
    rng = np.random.default_rng(0)

    def two_rates(noise: float) -> Curves:
        return Curves(
            "x", t, 0.5 + 2 * np.exp(-0.3 * t) + noise * rng.standard_normal(21),
            0.2 + np.exp(-0.6 * t) + noise * rng.standard_normal(21),
        )  # fmt: skip

    clear, drowned = separate_rates(two_rates(0.01)), separate_rates(two_rates(0.5))
    assert clear.rejected
    assert clear.rates["verifier"] == pytest.approx(0.6, rel=0.1)
    assert not drowned.rejected


def test_differences_of_an_exact_gap_are_linear_in_it():
    found = linearity(simulate(LAW, 0.0))
    assert found.r2 == pytest.approx(1.0, abs=1e-12)
    assert found.slope_lagged == pytest.approx(-LAW.rate, rel=1e-9)
    assert found.rate == pytest.approx(LAW.rate, rel=1e-9)
    assert found.slope == pytest.approx((np.exp(-LAW.rate / 2) - 1) / 0.5, rel=1e-9)


# --- bootstrap and forecast ------------------------------------------------------------------------------------------


def test_bootstraps_are_as_wide_as_the_noise_and_quick():
    run = simulate(LAW, 0.02)
    found = fit_coupled(run)
    started = time.perf_counter()
    refits = over_residuals(run, found.residuals[0], found.law, 1000, 0)
    assert time.perf_counter() - started < 10
    ends = percentiles(refits)
    for name in PARAMETERS:
        profile = found.parameters[name]
        assert (ends[name]["high"] - ends[name]["low"]) == pytest.approx(profile.high - profile.low, rel=0.35)


def test_a_bootstrap_over_prompts_takes_runs_of_any_length():
    epoch = np.linspace(0, 10, MOST_POINTS + 50)
    prompts = np.random.default_rng(0).gamma(4, 0.25, 40)[:, None]
    panel = PromptCurves(prompts * LAW.solver(epoch), prompts * LAW.verifier(epoch))
    run = Curves("long", epoch, panel.solver.mean(axis=0), panel.verifier.mean(axis=0))
    found = analyse([run], epoch, draws=50, prompts=[panel])
    assert found.bootstrap["parameters"]["rate"]["low"] == pytest.approx(LAW.rate, rel=1e-3)


def test_a_bootstrap_over_prompts_is_of_the_estimate_that_was_fitted(tmp_path):
    (tmp_path / "samples").mkdir()
    rows = pd.DataFrame(
        {"split": "test", "problem_id": list("aabb"), "sample": [0, 1, 0, 1], "nll": [1.0, 3.0, 5.0, 9.0]}
    ).assign(selected=[False, True, True, False])
    rows.to_parquet(tmp_path / "samples" / "epoch=000.50.parquet")
    first, every = (prompt_curves(tmp_path, [0.5], "test", solver) for solver in ("first", "all"))
    assert first.solver[:, 0].tolist() == [1, 5]
    assert every.solver[:, 0].tolist() == [2, 7]
    assert first.verifier[:, 0].tolist() == every.verifier[:, 0].tolist() == [3, 5]


@pytest.mark.parametrize("name", ["coupled_ode", "exponential", "two_shared_rates", "combination"])
def test_forecasters_that_contain_the_truth_find_it(name):
    seen = HALVES[:11]
    curves = np.stack([LAW.solver(HALVES), LAW.verifier(HALVES)])[None]
    said = FORECASTERS[name](seen, curves[..., :11], HALVES[11:])
    assert said == pytest.approx(curves[..., 11:], abs=0.02)


def test_a_forecast_does_not_depend_on_the_unit_of_time():
    curves = np.stack([LAW.solver(HALVES), LAW.verifier(HALVES)])[None]
    weeks = combination(HALVES[:9], curves[..., :9], HALVES[9:])
    hours = combination(168 * HALVES[:9], curves[..., :9], 168 * HALVES[9:])
    assert weeks == pytest.approx(hours, rel=1e-9)


def test_forecasts_of_uncertainty_are_not_negative_and_hold_their_order():
    rng = np.random.default_rng(0)
    curves = np.maximum(
        np.stack([LAW.solver(HALVES), LAW.verifier(HALVES)]) + 0.3 * rng.standard_normal((50, 2, 21)), 0
    )
    said = forecast(HALVES[:9], curves[..., :9], np.arange(5.0, 60.0, 5))
    assert (said.low[:, :2] >= 0).all()
    assert (said.low <= said.value + 1e-12).all()
    assert (said.value <= said.high + 1e-12).all()


def test_held_out_error_on_the_papers_curves_is_within_the_goal(shared):
    table = pd.read_csv(shared / "paper" / "phi4_mini_qe.csv")
    goals = {0.3: 4.0, 0.5: 2.0, 0.75: 1.0}
    means: dict[str, list[float]] = {name: [] for name in FORECASTERS}
    for share, goal in goals.items():
        for name, forecaster in FORECASTERS.items():
            errors = []
            for _, one in table.groupby("panel"):
                t = one.epoch.to_numpy()
                curves = np.stack([one.solver_uncertainty, one.verifier_uncertainty])
                seen = round(share * len(t))
                said = forecaster(t[:seen], curves[None, :, :seen], t[seen:])[0]
                rmse = np.sqrt(np.mean((said - curves[:, seen:]) ** 2, axis=1))
                errors += list(100 * rmse / np.ptp(curves, axis=1))
            means[name].append(float(np.mean(errors)))
        assert means["combination"][-1] <= goal
    total = {name: np.mean(values) for name, values in means.items()}
    assert min(total, key=total.get) == "combination"


def test_long_series_are_averaged_in_blocks():
    epoch = np.linspace(0, 10, 12_345)
    when, values = blocks(epoch, np.stack([2 * epoch, -epoch])[None])
    assert len(when) == MOST_POINTS
    assert values[0, 0] == pytest.approx(2 * when)
