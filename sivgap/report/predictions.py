"""What the theory predicts of a sweep, beside what its runs show (THEORY section 6).

Limits over initial gaps: runs that differ in nothing but how responses are chosen. Timing: how far strategies of
external data lie apart, epoch by epoch, once all of them have given all data.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sivgap.dynamics.initial_gap import InitialGap, initial_gap
from sivgap.report.cross_tables import CrossGroup
from sivgap.report.record import Record
from sivgap.report.spread import spread
from sivgap.report.sweep_record import Column, SweepRecord, by_problem, label
from sivgap.runs.load_curves import panel_curves

_CHOOSING = ("n", "selection.threshold", "selection.quantile", "selection.finished", "verifier.")
"""Keys that change the initial gap and leave the solver as it is."""

_COMPARED: tuple[tuple[str, Column, float], ...] = (("accuracy (points)", "correct", 100.0), ("U_s (nats)", "nll", 1.0))


def limits_over_initial_gaps(sweep: SweepRecord) -> tuple[pd.DataFrame, list[str]] | None:
    """A row a setting, and what they say; None for a sweep over anything else, or without the samples for it."""
    settings = sweep.settings()
    keys = {key for setting in settings for key, _ in setting}
    if len(settings) < 2 or not all(key.startswith(_CHOOSING) for key in keys):
        return None
    epochs = _epochs([record for records in settings.values() for record in records])
    if epochs is None:
        return None
    runs = [panel_curves([r.path for r in records], epochs, "test", "all") for records in settings.values()]
    found = initial_gap(np.array(epochs), runs) if all(runs) else None
    if found is None:
        return None
    titles = ("G at epoch 0", "U_s in the end", "G in the end", "rate", "beta / alpha")
    rows = [
        {"setting": label(setting), "seeds": len(records)}
        | {
            title: f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"
            for title, one in zip(titles, estimates.values(), strict=True)
        }
        for (setting, records), estimates in zip(settings.items(), found.settings, strict=True)
    ]
    return pd.DataFrame(rows), [_of_slope(found)]


def _of_slope(found: InitialGap) -> str:
    slope, predicted, apart = found.slope, found.predicted, found.difference
    assert apart.low is not None
    assert apart.high is not None
    verdict = "is not told apart from" if apart.low <= 0 <= apart.high else "is not"
    law = f"the law's -1 / (1 - rho), {predicted.value:.2f} ({predicted.low:.2f} to {predicted.high:.2f})"
    return (
        f"Each nat of initial gap moves the solver's limit by {slope.value:.2f} nats (90 % over prompts: "
        f"{slope.low:.2f} to {slope.high:.2f}); that {verdict} {law}. Differences between seeds are not in these "
        "intervals."
    )


def _epochs(records: Sequence[Record]) -> list[float] | None:
    """Those of all records, if they are the same and enough to fit."""
    found = [[float(line["epoch"]) for line in record.of("test")] for record in records]
    return found[0] if len(found[0]) >= 4 and all(one == found[0] for one in found) else None


def timing_by_epoch(group: CrossGroup) -> pd.DataFrame | None:
    """Max-Min over the strategies with external data at each measurement after the last arrival, solver, held out.

    Beside each what equal strategies would show, and the chance of as much. None without two such measurements.
    """
    runs = {name: group.runs[name] for name in group.external}
    records = [record for kept in runs.values() for record in kept]
    epochs = _epochs(records)
    if len(runs) < 2 or epochs is None:
        return None
    given = [float(line["epoch"]) for record in records for line in record.of("test") if line.get("external_new")]
    last = max(given, default=0.0)
    rows = []
    for epoch in (e for e in epochs if e >= last):
        row: dict[str, object] = {"epoch": f"{epoch:g}"}
        for title, column, scale in _COMPARED:
            values = [
                [by_problem(record, epoch, "test", "solver", column) for record in kept] for kept in runs.values()
            ]
            found = spread(scale * np.array([[one.to_numpy(np.float64) for one in kept] for kept in values]))
            row[f"{title}, Max-Min"] = f"{found.value:.3f}"
            row[f"{title}, if equal"] = "?" if found.if_equal is None else f"{found.if_equal:.3f}"
            row[f"{title}, p"] = "?" if found.p_value is None else f"{found.p_value:.2f}"
        rows.append(row)
    return pd.DataFrame(rows) if len(rows) > 1 else None
