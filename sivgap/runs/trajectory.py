"""``trajectory.jsonl``: one measurement a line, appended and synced; the truth, whatever W&B received."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sivgap.errors import RunError
from sivgap.runs.files import append_line, finite, write_text

Line = dict[str, Any]


class Trajectory:
    """The measurements of a run, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, line: Line) -> None:
        """Add one measurement. A number that does not exist (NaN, infinite) is written as null."""
        append_line(self.path, json.dumps(finite(line), allow_nan=False))

    def read(self) -> list[Line]:
        """All measurements; a last line cut short by a crash is left out.

        Raises:
            RunError: If a line other than the last is broken.
        """
        if not self.path.exists():
            return []
        texts = self.path.read_text(encoding="utf-8").splitlines()
        lines: list[Line] = []
        for number, text in enumerate(texts, 1):
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError as error:
                if number == len(texts):
                    break
                raise RunError(f"{self.path}, line {number}: not valid JSON; the file was changed by hand?") from error
        return lines

    def rewind(self, epoch: float, inclusive: bool) -> None:
        """Forget what was measured after `epoch` (and, unless `inclusive`, at it): the run goes on from there."""
        lines = [line for line in self.read() if line["epoch"] < epoch or (inclusive and line["epoch"] == epoch)]
        kept = [json.dumps(line, allow_nan=False) for line in lines]
        write_text(self.path, "".join(text + "\n" for text in kept))


def final_accuracy(run: Path) -> float | None:
    """The solver's accuracy at the last measurement of the held-out panel: what a sweeper that searches maximises."""
    held_out = [line for line in Trajectory(run / "trajectory.jsonl").read() if line["split"] == "test"]
    return held_out[-1]["solver_accuracy"] if held_out else None
