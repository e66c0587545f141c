"""What a report reads of a run: its directory, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sivgap.errors import RunError
from sivgap.runs.names import epoch_name
from sivgap.runs.trajectory import Trajectory
from sivgap.runtime.read import read_json, read_parquet, read_yaml

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
    lines = [_of_today(line) for line in Trajectory(path / "trajectory.jsonl").read()]
    if not any(line.get("split") == "test" for line in lines):
        raise RunError(f"{path}: nothing has been measured on the held-out panel yet")
    try:
        status = read_json(path / "status.json", path)
        config = read_yaml(path / "config.yaml", path)
        if not isinstance(status, dict) or not isinstance(config, dict):
            raise ValueError("expected settings, found something else")
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: status.json or config.yaml cannot be read ({str(error)[:120]})") from error
    epochs = sorted({float(line["epoch"]) for line in lines})
    samples = {}
    for epoch in {epochs[0], epochs[-1]}:
        file = path / "samples" / f"{epoch_name(epoch)}.parquet"
        if file.is_file():
            samples[epoch] = _samples(path, file)
    return Record(path, lines, status, config, samples)


def _of_today(line: Line) -> Line:
    """A line without the ``gv_gap_relative`` of older versions: there prompts with every response right counted 0, so
    it fell to 0 as a model improved. Later versions, which leave these prompts out, log its standard error, too."""
    if "gv_gap_relative_se" in line:
        return line
    return {name: value for name, value in line.items() if name != "gv_gap_relative"}


def _samples(path: Path, file: Path) -> pd.DataFrame:
    try:
        frame = read_parquet(file, path)
        return frame[frame["split"] == "test"]
    except (RunError, KeyError) as error:
        raise RunError(f"{error}; delete it to report without samples") from error
