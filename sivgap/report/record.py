"""What a report reads of a run: its directory, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from sivgap.errors import RunError
from sivgap.runs.names import epoch_name
from sivgap.runs.trajectory import Trajectory

Line = dict[str, Any]


@dataclass(frozen=True)
class Record:
    """A run as it lies on disk; `samples` are those of its first and last measurement, where they are there."""

    path: Path
    lines: list[Line]
    status: dict[str, Any]
    config: dict[str, Any]
    samples: dict[float, pd.DataFrame]

    @property
    def name(self) -> str:
        return self.path.name

    def of(self, split: str) -> list[Line]:
        """The measurements of one panel."""
        return [line for line in self.lines if line["split"] == split]


def read_record(path: Path) -> Record:
    """Read the run directory `path`.

    Raises:
        RunError: If something in it is broken, or nothing has been measured yet.
    """
    lines = Trajectory(path / "trajectory.jsonl").read()
    if not any(line.get("split") == "test" for line in lines):
        raise RunError(f"{path}: nothing has been measured on the held-out panel yet")
    try:
        status = json.loads((path / "status.json").read_text(encoding="utf-8"))
        config = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RunError(f"{path}: status.json or config.yaml cannot be read ({str(error)[:120]})") from error
    epochs = sorted({float(line["epoch"]) for line in lines})
    samples = {}
    for epoch in {epochs[0], epochs[-1]}:
        file = path / "samples" / f"{epoch_name(epoch)}.parquet"
        if file.is_file():
            samples[epoch] = _samples(file)
    return Record(path, lines, status, config or {}, samples)


def _samples(file: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: cannot be read ({str(error)[:120]}); delete it to report without samples") from error
    return frame[frame["split"] == "test"]
