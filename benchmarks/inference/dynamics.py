"""Do intervals and tests of a fit hold? Simulated panels whose law is known, and sub-panels of a real run.

Each function returns rows (dicts): conditions, and the share of runs in which a 90 % interval held the truth, or a test
at 5 % rejected; ``before`` is the method it replaces. `study` is all. From a shell, in benchmarks/:

    python -m inference.dynamics [--quick] [--run RUN_DIRECTORY] [--logged CURVES.csv]
"""

import argparse
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from inference.curves import LAW, epochs, law_curves, of, panel, seeds, sweep
from rich.progress import track

from sivgap.dynamics.arrivals import Arrival, direct_gamma
from sivgap.dynamics.closed_form import Coupled
from sivgap.dynamics.cross import FORMS
from sivgap.dynamics.cross_fit import fit_cross
from sivgap.dynamics.curves import Curves
from sivgap.dynamics.energy import decay, exponent_test, fit_exponent
from sivgap.dynamics.fit import CoupledFit, fit_coupled
from sivgap.dynamics.forecast import forecast
from sivgap.dynamics.gls import PromptCovariance
from sivgap.dynamics.interval import percentile_interval
from sivgap.dynamics.population import Resampled, over_population, resample
from sivgap.dynamics.projection import project
from sivgap.dynamics.verdict import lack_of_fit, phase_plane, separate_rates, shared_rate_test
from sivgap.dynamics.weights import smoothed
from sivgap.report.tables import cells, markdown

Row = dict[str, Any]
SHOWN = ("rate", "solver_limit", "verifier_limit", "gap_limit")
DRAWS = 400
PLANS = {
    "none": (),
    "early": ((0.0, 0.3),),
    "uniform": tuple((float(i), 0.075) for i in range(4)),
    "late": ((3.0, 0.3),),
}


def study(
    quick: bool = False, run: Path | None = None, logged: Path | None = None, scale: float = 1.0
) -> dict[str, list[Row]]:
    """All tables by name; whole in about ten minutes of one core, quick in one. `scale` is for the number of runs."""

    def of_them(runs: int) -> int:
        return max(round(runs * (0.1 if quick else scale)), 4)

    tables = {
        "intervals, the law true": intervals(of_them(160), of_them(40)),
        "five seeds on one panel": several_seeds(of_them(80)),
        "tests at 5 %, the law true": levels(of_them(320)),
        "tests at 5 %, the law false": power(of_them(48)),
        "energy exponent": exponents(of_them(80)),
        "gamma": gammas(of_them(24)),
        "gamma from arrivals": arrivals(of_them(300)),
        "forecasts": forecasts(of_them(120)),
    }
    if run is not None:
        tables["sub-panels of a real run"] = sub_panels(run, of_them(160))
    if logged is not None:
        tables["forecasts of logged curves"] = logged_forecasts(logged)
    return tables


def _cells(title: str, *options: Any) -> Iterator[tuple[Any, ...]]:
    yield from track(list(product(*options)), title, transient=True)


def truth(law: Coupled = LAW) -> dict[str, float]:
    ends = [float(end) for end in law.limits]
    return {"rate": float(law.rate), "solver_limit": ends[0], "verifier_limit": ends[1], "gap_limit": ends[2]}


def curves_of(t: np.ndarray, values: np.ndarray) -> Curves:
    mean, error = values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return Curves("simulated", t, mean[0], mean[1], error[0], error[1])


def _weights(t: np.ndarray, values: np.ndarray, kind: str) -> np.ndarray | None:
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    if kind == "equal":
        return None
    return 1 / (error if kind == "stderr" else smoothed(t, values.mean(axis=0), error)) ** 2


def _holds(ends: tuple[float | None, float | None] | None, value: float) -> bool:
    low, high = (None, None) if ends is None else ends
    return (-np.inf if low is None else low) <= value <= (np.inf if high is None else high)


def _count(
    found: dict[str, Resampled], fit: CoupledFit | None, true: dict[str, float],
    held: dict[str, list[bool]], before: dict[str, list[bool]],
) -> None:  # fmt: skip
    """Whether the intervals over prompts hold the truth, and with a `fit` whether its profile intervals do."""
    for name in SHOWN:
        one = found.get(name)
        held[name].append(_holds(None if one is None else (one.low, one.high), true[name]))
        if fit is not None:
            old = fit.limits.get(name.removesuffix("_limit")) or fit.parameters[name]
            before[name].append(_holds((old.panel_low, old.panel_high), true[name]))


def intervals(runs: int, profiles: int) -> list[Row]:
    """Rate and limits: resampled prompts with smoothed weights, and the profile likelihood that was printed before."""
    rows = []
    for points, prompts in track(((9, 128), (13, 128), (13, 256), (13, 1024)), "intervals", transient=True):
        rng, t, true = np.random.default_rng(0), epochs(points), truth()
        held: dict[str, list[bool]] = {name: [] for name in SHOWN}
        before: dict[str, list[bool]] = {name: [] for name in SHOWN}
        for i in range(runs):
            values = panel(t, prompts, rng)
            found = over_population(t, [of(values)], DRAWS, i, _weights(t, values, "smoothed")).quantities
            fit = fit_coupled(curves_of(t, values)) if i < profiles else None
            _count(found, fit, true, held, before)
        rows += [
            {"quantity": name, "points": points, "prompts": prompts, "held": np.mean(held[name]),
             "before": np.mean(before[name]), "runs": runs}
            for name in SHOWN
        ]  # fmt: skip
    return rows


def several_seeds(runs: int, prompts: int = 256, points: int = 13, count: int = 5) -> list[Row]:
    """Five seeds on one panel: one draw of prompts for all; before, prompts were drawn apart for each seed."""
    rng, t, true = np.random.default_rng(1), epochs(points), truth()
    held: dict[str, list[bool]] = {name: [] for name in SHOWN}
    before: dict[str, list[bool]] = {name: [] for name in SHOWN}
    for i in track(range(runs), "seeds", transient=True):
        values = seeds(t, prompts, count, rng)
        found = over_population(t, [of(one) for one in values], DRAWS, i).quantities
        apart = _apart(t, values, i)
        for name in SHOWN:
            held[name].append(_holds((found[name].low, found[name].high), true[name]))
            before[name].append(_holds(apart[name], true[name]))
    return [
        {"quantity": name, "seeds": count, "prompts": prompts, "held": np.mean(held[name]),
         "before": np.mean(before[name]), "runs": runs}
        for name in SHOWN
    ]  # fmt: skip


def _apart(t: np.ndarray, values: list[np.ndarray], seed: int) -> dict[str, tuple[float, float]]:
    """Percentile intervals with prompts drawn for each seed by itself."""
    rng = np.random.default_rng(seed)
    share = resample(rng, DRAWS, len(values)) / len(values)
    drawn = np.zeros((DRAWS, 2 * len(t)))
    for i, one in enumerate(values):
        drawn += share[:, i, None] * (resample(rng, DRAWS, len(one)) @ one.reshape(len(one), -1)) / len(one)
    found = project(t, drawn.reshape(DRAWS, 2, -1))
    solver, verifier = (found.start - found.fall).T
    refits = {"rate": found.rate, "solver_limit": solver, "verifier_limit": verifier, "gap_limit": solver - verifier}
    return {name: percentile_interval(one) for name, one in refits.items()}


def _tested(t: np.ndarray, values: np.ndarray, seed: int) -> dict[str, bool]:
    """What each test says of one panel."""
    run, weights = curves_of(t, values), _weights(t, values, "smoothed")
    population = over_population(t, [of(values)], 200, seed, weights)
    covariance = PromptCovariance.of(values)
    mean = values.mean(axis=0)
    chances = {
        "shared rate, prompts": separate_rates(run, population).p_value,
        "shared rate, F test before": float(shared_rate_test(t, mean[None])[1][0]),
        "phase plane, prompts": phase_plane(run, population).p_value,
        "phase plane, independent": phase_plane(run).p_value,
        "p = 1, prompts": None if covariance is None else exponent_test(t, mean, covariance),
        "law against any curves": None if covariance is None else lack_of_fit(run, covariance),
    }
    return {name: chance is not None and chance < 0.05 for name, chance in chances.items()}


def levels(runs: int) -> list[Row]:
    """How often a true law is rejected."""
    return [
        row
        for points, prompts in _cells("levels", (9, 13, 21, 41), (128, 512))
        for row in _rejected(points, prompts, runs, {"law": "coupled"}, None)
    ]


def power(runs: int) -> list[Row]:
    """How often a false one is: the verifier's rate is 1.4 times the solver's, or the energy has p = 2."""
    rows = []
    for points in (13, 21):
        t = epochs(points)
        apart = np.stack([LAW.solver(t), 0.1 + 0.75 * np.exp(-1.4 * float(LAW.rate) * t)])
        start, fall = law_curves(np.zeros(1))[:, 0], np.array(LAW.falls[:2])
        bent = start[:, None] + fall[:, None] * decay(2.0)(float(LAW.rate) * 1.8 * t)
        for name, mean in (("verifier 1.4 times as fast", apart), ("p = 2", bent)):
            rows += _rejected(points, 256, runs, {"law": name}, mean)
    return rows


def _rejected(points: int, prompts: int, runs: int, conditions: Row, mean: np.ndarray | None) -> list[Row]:
    rng, t = np.random.default_rng(2), epochs(points)
    found = [_tested(t, panel(t, prompts, rng, mean), i) for i in range(runs)]
    return [
        {"test": name, **conditions, "points": points, "prompts": prompts, "runs": runs,
         "rejected": np.mean([one[name] for one in found])}
        for name in found[0]
    ]  # fmt: skip


def exponents(runs: int, prompts: int = 256) -> list[Row]:
    """The exponent's interval, and U_s's limit under free p, over prompts."""
    rows = []
    for exponent, points in _cells("exponents", (1.0, 1.6), (9, 21)):
        rng, t = np.random.default_rng(3), epochs(points)
        start, fall = law_curves(np.zeros(1))[:, 0], np.array(LAW.falls[:2])
        mean = start[:, None] + fall[:, None] * decay(exponent)(float(LAW.rate) * 1.5 * t)
        held, limit, edge, widths = [], [], [], []
        for i in range(runs):
            values = panel(t, prompts, rng, mean)
            draws = over_population(t, [of(values)], DRAWS, i).curves
            found = fit_exponent(t, values.mean(axis=0), None, draws)
            held.append(found.low <= exponent <= found.high)
            limit.append(_holds(found.limit_intervals["solver"], float(start[0] - fall[0])))
            edge.append(found.at_edge)
            widths.append(found.high - found.low)
        rows.append({"p": exponent, "points": points, "prompts": prompts, "p held": np.mean(held),
                     "width of p": np.median(widths), "not bounded": np.mean(edge), "U_s limit held": np.mean(limit),
                     "runs": runs})  # fmt: skip
    return rows


def gammas(runs: int, prompts: int = 256, points: int = 13) -> list[Row]:
    """gamma over a sweep of four strategies, and which form is found."""
    rows = []
    for gamma, form in _cells("gamma", (0.0, 0.8), ("inverse", "additive")):
        if gamma == 0 and form != "inverse":
            continue
        rng, t = np.random.default_rng(4), epochs(points)
        held, before, right, right_before, zero = [], [], [], [], []
        for i in range(runs):
            values = sweep(t, prompts, gamma, form, PLANS, rng)
            curves = [Curves(name, t, *one.mean(axis=0), arrivals=PLANS[name]) for name, one in values.items()]
            found = fit_cross(curves, seed=i, prompts=[of(one) for one in values.values()])
            one = found.gamma[form]
            held.append(_holds((one.low, one.high), gamma))
            before.append(_holds((one.panel_low, one.panel_high), gamma))
            right.append(found.form == form)
            right_before.append(min(FORMS, key=lambda f: found.aicc[f]) == form)
            zero.append(not _holds((one.low, one.high), 0.0))
        rows.append({"gamma": gamma, "form": form, "prompts": prompts, "held": np.mean(held),
                     "before": np.mean(before), "0 excluded": np.mean(zero), "right form": np.mean(right),
                     "right form before": np.mean(right_before), "runs": runs})  # fmt: skip
    return rows


def arrivals(runs: int) -> list[Row]:
    """gamma from the verifier's jumps: at four arrivals a fifth of the prompts get a response of half their U."""
    rows, gamma = [], 0.5
    for prompts in (128, 256, 1024):
        rng, t = np.random.default_rng(5), epochs(13)
        pooled, each, equal = [], [], []
        for i in track(range(runs), "arrivals", transient=True):
            before = panel(t, prompts, rng)[:, 1, :8:2]
            jumps = []
            for epoch in range(4):
                given = (rng.random(prompts) < 0.2).astype(float)
                own = before[:, epoch]
                after = np.where(given > 0, own * (1 - gamma) * rng.lognormal(-0.18, 0.6, prompts), own)
                mean = np.stack([own, after, given], axis=1)
                jumps.append(Arrival("x", float(epoch), 0.2, own.mean(), after.mean(), mean))
            found = direct_gamma(jumps, i)
            assert found is not None
            one, chance = found.pooled["linear"], found.equal["linear"]
            pooled.append(_holds((one.low, one.high), gamma))
            each.append(np.mean([_holds((g["linear"].low, g["linear"].high), gamma) for g in found.each]))
            equal.append(chance is not None and chance < 0.05)
        rows.append({"prompts": prompts, "each held": np.mean(each), "pooled held": np.mean(pooled),
                     "one gamma rejected": np.mean(equal), "runs": runs})  # fmt: skip
    return rows


def forecasts(runs: int, prompts: int = 256) -> list[Row]:
    """Future measurements of the same panel, from the first half of the run."""
    rows = []
    for kind, points in _cells("forecasts", ("coupled", "p = 2", "rises late"), (13, 21)):
        rng, t = np.random.default_rng(6), epochs(points)
        mean = law_curves(t)
        if kind == "p = 2":
            start, fall = law_curves(np.zeros(1))[:, 0], np.array(LAW.falls[:2])
            mean = start[:, None] + fall[:, None] * decay(2.0)(float(LAW.rate) * 1.8 * t)
        if kind == "rises late":
            mean = mean + 0.05 * np.maximum(t - t[len(t) // 3], 0)
        seen = np.stack([panel(t, prompts, rng, mean).mean(axis=0) for _ in range(runs)])
        n = len(t) // 2 + 1
        said = forecast(t[:n], seen[..., :n], t[n:])
        later = np.concatenate([seen[..., n:], seen[:, :1, n:] - seen[:, 1:, n:]], axis=1)
        held = ((later >= said.low) & (later <= said.high)).mean(axis=(0, 2))
        rows.append({"truth": kind, "points": points, "U_s": held[0], "U_v": held[1], "gap": held[2], "runs": runs})
    return rows


def sub_panels(run: Path, runs: int) -> list[Row]:
    """Panels drawn from a real run's prompts with replacement: these are the population, their fit the truth."""
    from sivgap.runs.load_curves import from_run, prompt_curves

    whole = from_run(run, "test", "response", "all")
    known = prompt_curves(run, list(whole.epoch), "test", "all")
    assert known is not None
    values, t, rows = np.stack([known.solver, known.verifier], axis=1), whole.epoch, []
    for kind, prompts in _cells("sub-panels", ("smoothed", "equal", "stderr"), (128, 256)):
        rng = np.random.default_rng(7)
        population = over_population(t, [of(values)], 50, 0, _weights(t, values, kind)).quantities
        true = {name: population[name].value for name in SHOWN}
        held: dict[str, list[bool]] = {name: [] for name in SHOWN}
        before: dict[str, list[bool]] = {name: [] for name in SHOWN}
        for i in range(runs):
            drawn = values[rng.integers(len(values), size=prompts)]
            found = over_population(t, [of(drawn)], DRAWS, i, _weights(t, drawn, kind)).quantities
            fit = fit_coupled(curves_of(t, drawn), weights=kind) if i < runs // 6 else None  # type: ignore[arg-type]
            _count(found, fit, true, held, before)
        rows += [
            {"quantity": name, "weights": kind, "prompts": prompts, "held": np.mean(held[name]),
             "before": np.mean(before[name]), "runs": runs}
            for name in SHOWN
        ]  # fmt: skip
    return rows


def logged_forecasts(path: Path) -> list[Row]:
    """Single curves of logged runs (columns source, run, metric, step, value), from 30, 50 and 75 % of each."""
    table = pd.read_csv(path)
    held: dict[tuple[str, float], list[float]] = {}
    for (_, _, metric), one in table[table.metric != "accuracy"].groupby(["source", "run", "metric"]):
        one = one.dropna().sort_values("step")
        t, y = one.step.to_numpy(float) - one.step.min(), one.value.to_numpy(float)
        if len(t) < 10 or np.ptp(y) == 0 or len(np.unique(t)) < len(t):
            continue
        for share in (0.3, 0.5, 0.75):
            n = max(5, round(share * len(t)))
            said = forecast(t[:n], np.stack([y[:n], 0.5 * y[:n]])[None], t[n:])
            inside = (y[n:] >= said.low[0, 0]) & (y[n:] <= said.high[0, 0])
            held.setdefault((str(metric), share), []).append(float(inside.mean()))
    return [
        {"metric": metric, "seen": f"{share:.0%}", "held": np.mean(values), "curves": len(values)}
        for (metric, share), values in held.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--logged", type=Path)
    a = parser.parse_args()
    for name, rows in study(a.quick, a.run, a.logged).items():
        frame = pd.DataFrame(rows).round(3)
        print(f"## {name}\n\n{markdown(list(frame.columns), cells(frame))}")


if __name__ == "__main__":
    main()
