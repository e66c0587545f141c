"""How well are curves forecast that other people logged? Both methods beside "nothing changes any more".

    python benchmarks/external_curves.py CURVES.csv [--metrics accuracy entropy] [--simulated 24]

CURVES.csv has the columns source, run, metric, step, value; it is read where it lies, and nothing of it is kept but
errors. Every curve is forecast from the first 25, 50 and 75 % of its points to its end. The same is done on simulated
curves of kinds that such runs show. Writes benchmarks/results/external_curves.md and .json.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from simulated_curves import KINDS, simulated
from study import publish

from sivgap.dynamics.collapse import Watched, first_alarm
from sivgap.dynamics.curve_forecast import forecast_curves
from sivgap.dynamics.entropy_law import fit_entropy_law
from sivgap.dynamics.forecast import FEWEST_SEEN
from sivgap.report.tables import markdown

SHARES = (0.25, 0.5, 0.75)
METHODS = ("last value", "default", "adaptive")
FEWEST_POINTS = 8
"""Points below which a curve is left out: a quarter of it is too little to forecast from."""

Case = tuple[str, str, np.ndarray, np.ndarray]
"""Source, run, steps, values."""


def logged(path: Path, metrics: list[str] | None) -> list[Case]:
    """The curves of a file, those of one source and metric under one name."""
    table = pd.read_csv(path).dropna(subset=["step", "value"])
    if metrics:
        table = table[table["metric"].isin(metrics)]
    found = []
    for (source, metric, run), one in table.groupby(["source", "metric", "run"], sort=True):
        one = one.sort_values("step").drop_duplicates("step", keep="last")
        if len(one) >= FEWEST_POINTS and np.ptp(one["value"]) > 0:
            found.append((f"{source}, {metric}", str(run), one["step"].to_numpy(float), one["value"].to_numpy(float)))
    return found


def scored(case: Case) -> Iterator[dict]:
    """Error, coverage and interval score of each method at each share seen, in % of the curve's range."""
    source, run, step, value = case
    span = np.ptp(value)
    for share in SHARES:
        n = round(share * len(step))
        if not FEWEST_SEEN <= n < len(step) or np.ptp(value[:n]) == 0:
            continue
        later = value[n:]
        yield {"source": source, "run": run, "share": share, "method": "last value", "error": rmse(value[n - 1], later, span)}
        for method in ("default", "adaptive"):
            found = forecast_curves(step[:n], value[None, :n], step[n:], method)
            low, high = found.low[0], found.high[0]
            outside = np.maximum(low - later, 0) + np.maximum(later - high, 0)
            yield {
                "source": source, "run": run, "share": share, "method": method,
                "error": rmse(found.value[0], later, span),
                "coverage": float(np.mean(outside == 0)),
                "score": 100 * float(np.mean(high - low + 20 * outside)) / span,
            }  # fmt: skip


def rmse(forecast, later, span) -> float:
    return 100 * float(np.sqrt(np.mean((forecast - later) ** 2))) / span
