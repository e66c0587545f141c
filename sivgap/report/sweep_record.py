"""What a report reads of a sweep: its finished runs, and what distinguishes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sivgap.errors import RunError
from sivgap.report.record import Record, read_record
from sivgap.runs.names import epoch_name
from sivgap.runs.sweep_manifest import Progress, Sweep
from sivgap.runtime.read import read_parquet

_IGNORED = ("seed", "tracking", "runs_dir", "fresh", "plan", "engine.batch_size", "engine.threads")
"""Keys by which runs may differ without being of another setting."""

Setting = tuple[tuple[str, str], ...]
"""Keys and values that distinguish runs, in the order of the configuration."""

Column = Literal["correct", "nll"]


@dataclass(frozen=True)
class SweepRecord:
    """A sweep as it lies on disk; `records` are of its complete runs."""

    path: Path
    progress: Sequence[Progress]
    records: Sequence[Record]

    @property
    def name(self) -> str:
        return self.path.name

    def settings(self) -> dict[Setting, list[Record]]:
        """Complete runs by setting; those of one setting differ by seed, and are in its order."""
        flat = [flat_config(record.config) for record in self.records]
        keys = [k for k in dict.fromkeys(k for one in flat for k in one) if len({one.get(k) for one in flat}) > 1]
        found: dict[Setting, list[Record]] = {}
        for record, values in zip(self.records, flat, strict=True):
            found.setdefault(tuple((key, values.get(key, "null")) for key in keys), []).append(record)
        return {setting: sorted(runs, key=lambda r: int(r.config["seed"])) for setting, runs in found.items()}

    def named(self) -> dict[str, list[Record]]:
        """Complete runs by what their jobs are called, the seed apart, in its order."""
        complete = [p.job for p in self.progress if p.state == "complete"]
        found: dict[str, list[Record]] = {}
        for job, record in zip(complete, self.records, strict=True):
            words = [word for word in job.name.split(" ") if not word.startswith("seed=")]
            found.setdefault(" ".join(words) or "all runs", []).append(record)
        return {name: sorted(runs, key=lambda r: int(r.config["seed"])) for name, runs in found.items()}


def read_sweep(path: Path) -> SweepRecord:
    """Read the sweep in `path`.

    Raises:
        RunError: If it cannot be read, or none of its jobs is complete yet.
    """
    sweep = Sweep(path)
    progress = sweep.progress()
    records = [read_record(sweep.run_path(p.job)) for p in progress if p.state == "complete"]
    if not records:
        raise RunError(f"{path}: none of its {len(progress)} jobs is complete yet")
    return SweepRecord(path, progress, records)


def label(setting: Setting) -> str:
    """``strategy=early, budget=0.5``: the last part of each key is enough for a reader."""
    return ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in setting) or "all runs"


def by_problem(record: Record, epoch: float, split: str, who: str, column: Column = "correct") -> pd.Series[float]:
    """Accuracy (or U, nats) by problem at one measurement: of the solver the mean over its samples, of the verifier
    its choice."""
    file = record.path / "samples" / f"{epoch_name(epoch)}.parquet"
    rows = read_parquet(file, record.path, ["split", "problem_id", "sample", column, "selected"])
    rows = rows[rows["split"] == split]
    rows = rows[rows["sample"] >= 0] if who == "solver" else rows[rows["selected"]]
    return rows.groupby("problem_id", sort=True)[column].mean()


def cube(runs: Mapping[str, Sequence[Record]], last: bool, split: str, who: str) -> NDArray[np.float64]:
    """Accuracies of K settings, S seeds, P problems, (K, S, P), at the first or last measurement.

    Raises:
        RunError: If the runs do not share their panel.
    """
    found: list[list[pd.Series[float]]] = []
    for records in runs.values():
        ends = [record.of(split)[-1 if last else 0]["epoch"] for record in records]
        found.append([by_problem(r, float(e), split, who) for r, e in zip(records, ends, strict=True)])
    index = found[0][0].index
    if any(not series.index.equals(index) for group in found for series in group):
        raise RunError("the runs of this sweep were not measured on one panel, and cannot be compared prompt by prompt")
    return np.array([[series.to_numpy(np.float64) for series in group] for group in found])


def flat_config(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Every dotted key of a configuration and its value as text, without those that make no other setting."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if name in _IGNORED:
            continue
        if isinstance(value, dict):
            flat |= flat_config(value, f"{name}.")
        else:
            flat[name] = "null" if value is None else str(value)
    return flat
