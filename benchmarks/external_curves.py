"""How well are curves forecast that other people logged? Both methods beside "nothing changes any more".

    python benchmarks/external_curves.py CURVES.csv [--metrics accuracy entropy] [--simulated 24]

CURVES.csv has the columns source, run, metric, step, value; it is read where it lies, and nothing of it is kept but
errors. Every curve is forecast from the first 25, 50 and 75 % of its points to its end. The same is done on simulated
curves of kinds that such runs show. Writes benchmarks/results/external_curves.md and .json.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import track
from simulated_curves import KINDS, simulated
from study import publish

from sivgap.dynamics.collapse import Watched, first_alarm
from sivgap.dynamics.curve_analysis import forecast_with_kind
from sivgap.dynamics.curve_forecast import Rules, forecast_curves
from sivgap.dynamics.entropy_law import fit_entropy_law
from sivgap.dynamics.forecast import FEWEST_SEEN
from sivgap.report.tables import markdown

SHARES = (0.25, 0.5, 0.75)
METHODS = ("last value", "default", "adaptive")
FEWEST_POINTS = 8
"""Points below which a curve is left out: a quarter of it is too little to forecast from."""

CHOICES = {
    "as it is": Rules({"families": 0.3, "level": 0.2, "damped_slope": 0.3, "s_shape": 0.2}),
    "equal priors": Rules(dict.fromkeys(("families", "level", "damped_slope", "s_shape"), 0.25)),
    "families .5": Rules({"families": 0.5, "level": 0.2, "damped_slope": 0.2, "s_shape": 0.1}),
    "power 2": Rules({"families": 0.3, "level": 0.2, "damped_slope": 0.3, "s_shape": 0.2}, power=2.0),
    "power 8": Rules({"families": 0.3, "level": 0.2, "damped_slope": 0.3, "s_shape": 0.2}, power=8.0),
    "no S-shape": Rules({"families": 0.4, "level": 0.25, "damped_slope": 0.35}),
}
"""Constants of the adaptive method that were tried beside each other."""

Case = tuple[str, str, np.ndarray, np.ndarray]
"""Source, run, steps, values."""


def logged(path: Path, metrics: Sequence[str] | None) -> list[Case]:
    """The curves of a file, those of one source and metric under one name."""
    table = pd.read_csv(path).dropna(subset=["step", "value"])
    found = []
    for (source, metric, run), rows in table.groupby(["source", "metric", "run"], sort=True):
        one = rows.sort_values("step").drop_duplicates("step", keep="last")
        if (not metrics or metric in metrics) and len(one) >= FEWEST_POINTS and np.ptp(one["value"]) > 0:
            found.append((f"{source}, {metric}", str(run), one["step"].to_numpy(float), one["value"].to_numpy(float)))
    return found


def parts(case: Case) -> Iterator[tuple[float, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Share seen, steps and values seen, steps and values to come."""
    _, _, step, value = case
    for share in SHARES:
        n = round(share * len(step))
        if FEWEST_SEEN <= n < len(step) and np.ptp(value[:n]) > 0:
            yield share, step[:n], value[:n], step[n:], value[n:]


def scored(case: Case) -> Iterator[dict]:
    """Error, coverage and interval score (Gneiting and Raftery 2007) of each method, in % of the curve's range."""
    span = np.ptp(case[3])
    for share, step, value, at, later in parts(case):
        row = {"source": case[0], "run": case[1], "share": share}
        yield {**row, "method": "last value", "error": error_of(value[-1], later, span)}
        for method in METHODS[1:]:
            found, kind = forecast_with_kind(step, value, at, method)
            low, high = found.low[0], found.high[0]
            outside = np.maximum(low - later, 0) + np.maximum(later - high, 0)
            yield {
                **row, "method": method, "error": error_of(found.value[0], later, span),
                "coverage": float(np.mean(outside == 0)),
                "score": 100 * float(np.mean(high - low + 20 * outside)) / span, "known": kind.known,
            }  # fmt: skip


def error_of(forecast: np.ndarray, later: np.ndarray, span: float) -> float:
    """Root mean square, % of the curve's range."""
    return 100 * float(np.sqrt(np.mean((forecast - later) ** 2))) / span


def summary(rows: pd.DataFrame) -> list[list[str]]:
    """One row a source and share seen, and a source over all shares."""
    found = []
    for source, one in rows.groupby("source", sort=False):
        for share, part in [*one.groupby("share"), ("all", one)]:
            cells = [source, f"{share:.0%}" if share != "all" else "all", str(part["run"].nunique())]
            by = dict(list(part.groupby("method")))
            cells += [f"{by[m]['error'].median():.1f} / {by[m]['error'].mean():.1f}" for m in METHODS]
            cells += [f"{by[m]['coverage'].mean():.2f}, {by[m]['score'].mean():.0f}" for m in METHODS[1:]]
            found.append([*cells, f"{1 - by['adaptive']['known'].mean():.0%}"])
    return found


def left_out(cases: Sequence[Case]) -> tuple[list[list[str]], dict[str, dict[str, float]]]:
    """Error of each choice of constants by source, and of the one that the other sources would have chosen."""
    errors: dict[str, dict[str, list[float]]] = {}
    for case in track(cases, "choices", transient=True):
        of_source = errors.setdefault(case[0].partition(",")[0], {name: [] for name in CHOICES})
        for _, step, value, at, later in parts(case):
            for name, rules in CHOICES.items():
                found = forecast_curves(step, value[None], at, rules)
                of_source[name].append(error_of(found.value[0], later, np.ptp(case[3])))
    means = {source: {name: float(np.mean(e)) for name, e in one.items()} for source, one in errors.items()}
    table = []
    for source, one in means.items():
        others = {n: np.mean([m[n] for s, m in means.items() if s != source] or [one[n]]) for n in CHOICES}
        best = min(others, key=others.get)
        table.append([source, *(f"{one[name]:.2f}" for name in CHOICES), f"{one[best]:.2f} ({best})"])
    return table, means


def alarms(path: Path) -> list[list[str]]:
    """When each run with accuracy raises the alarm, and why."""
    table = pd.read_csv(path).dropna(subset=["step", "value"]).sort_values("step")
    found = []
    for (source, run), one in table.groupby(["source", "run"], sort=True):
        series = {m: (r["step"].to_numpy(float), r["value"].to_numpy(float)) for m, r in one.groupby("metric")}
        if "accuracy" not in series:
            continue
        alarm = first_alarm(Watched(series["accuracy"], series.get("entropy"), series.get("length")))
        if alarm is not None:
            step, value = series["accuracy"]
            found.append([source, run, f"{alarm.step:g}", f"{half_lost(step, value):g}", alarm.reason])
    return found


def half_lost(step: np.ndarray, value: np.ndarray) -> float:
    """The step at which half of what lies between the best value and the lowest one after it is gone."""
    best = int(value.argmax())
    lowest = value[best:].min()
    return float(step[best:][value[best:] <= (value[best] + lowest) / 2][0])


def entropy_laws(path: Path) -> list[list[str]]:
    """The entropy law of every run with entropy, and how far its early ceiling is from what came."""
    table = pd.read_csv(path)
    found = []
    for (source, run), one in table[table["metric"].isin(["accuracy", "entropy"])].groupby(["source", "run"]):
        both = one.pivot_table(index="step", columns="metric", values="value").dropna()
        if {"accuracy", "entropy"} <= set(both.columns):
            law = fit_entropy_law(both["entropy"].to_numpy(), both["accuracy"].to_numpy())
            if law is not None and law.early is not None:
                best = both["accuracy"].rolling(3, min_periods=1).mean().max()
                found.append([source, run, f"{law.r2:.2f}", f"{law.ceiling:.3f}", f"{law.early:.3f}", f"{best:.3f}"])
    return found


def totals(rows: pd.DataFrame) -> str:
    """Mean over sources and over curves."""
    by_source = rows.groupby(["method", "source"])["error"].mean().groupby("method").mean()
    by_curve = rows.groupby("method")["error"].agg(["mean", "median"])
    head = ["error, % of range", *METHODS]
    return markdown(
        head,
        [
            ["mean over sources", *(f"{by_source[m]:.1f}" for m in METHODS)],
            ["mean over forecasts", *(f"{by_curve.loc[m, 'mean']:.1f}" for m in METHODS)],
            ["median over forecasts", *(f"{by_curve.loc[m, 'median']:.1f}" for m in METHODS)],
        ],
    )


HEAD = [
    "source", "seen", "curves", *(f"{m}: median / mean error" for m in METHODS),
    *(f"{m}: coverage, score" for m in METHODS[1:]), "not my kind",
]  # fmt: skip


def page(path: Path, real: pd.DataFrame, made: pd.DataFrame, choices: list[list[str]], a: argparse.Namespace) -> str:
    parts_of_page = [
        "# Curves that others logged\n",
        f"`python benchmarks/external_curves.py CURVES.csv --simulated {a.simulated}`: {real['run'].nunique()} runs, "
        f"{len(real) // len(METHODS)} forecasts. Errors are root mean squares over all that followed, in % of the "
        "curve's range; coverage is of the 90 % interval of a future measurement; score is the interval score (width "
        "and misses, lower is better), same unit. Intervals are widened where the curve is not of a known kind.\n",
        totals(real),
        "## By source\n",
        markdown(HEAD, summary(real)),
        "## Simulated curves\n",
        f"{a.simulated} of each kind, seed {a.seed}. Before a start, a jump or a collapse nothing in a curve tells of "
        "it.\n"
        if len(made)
        else "",
        totals(made) if len(made) else "",
        markdown(HEAD, summary(made)) if len(made) else "",
        "## What was tuned on what\n",
        "Members, priors and powers of the adaptive method were chosen on simulated curves of other seeds and on the "
        "given file, as round numbers; the table says how much hangs on them. The last column is the error on a "
        "source of the choice that did best on the other sources.\n",
        markdown(["source", *CHOICES, "chosen without it"], choices),
        "## Alarms\n",
        "Accuracy, entropy and length read as they came.\n",
        markdown(["source", "run", "alarm at", "half lost at", "reason"], alarms(path)),
        "## Entropy law\n",
        markdown(["source", "run", "R²", "ceiling", "ceiling of the first 40 %", "best accuracy"], entropy_laws(path)),
    ]
    return "\n".join(part for part in parts_of_page if part)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("curves", type=Path, help="source, run, metric, step, value")
    parser.add_argument("--metrics", nargs="+", default=None)
    parser.add_argument("--simulated", type=int, default=24, help="curves of each kind")
    parser.add_argument("--seed", type=int, default=7)
    a = parser.parse_args(arguments)
    cases = logged(a.curves, a.metrics)
    rng = np.random.default_rng(a.seed)
    made = [(k, str(i), t, y) for k in KINDS for i, (t, y) in enumerate(simulated(k, a.simulated, rng))]
    real = pd.DataFrame([row for case in track(cases, "logged", transient=True) for row in scored(case)])
    simulations = pd.DataFrame([row for case in track(made, "simulated", transient=True) for row in scored(case)])
    choices, means = left_out(cases)
    numbers = {
        "logged": real.groupby(["source", "share", "method"])["error"].mean().reset_index().to_dict("records"),
        "choices": means,
    }
    publish("external_curves", page(a.curves, real, simulations, choices, a), numbers)


if __name__ == "__main__":
    main()
