"""A run on Weights & Biases: each measurement is one row there, sent once, whoever sends it and however often.

W&B is asked how many rows it holds. Measurements are numbered by their place in the trajectory, which repeats itself
exactly, so as many from its start are there already and are not sent again. No file of ours has to remember what was
sent, and none can be wrong about it. ``step=`` is never passed: W&B drops what seems to go back.
"""

from __future__ import annotations

import html
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sivgap.config.schema import WandbConfig
from sivgap.runs.names import epoch_name
from sivgap.runtime.read import read_parquet
from sivgap.runtime.sanitize import no_formula, sanitize
from sivgap.tracking.wandb_server import Held, ask

Line = dict[str, Any]

_SAMPLE_COLUMNS = (
    "problem_id", "sample", "question", "text", "answer", "reference", "correct", "score", "nll", "length", "selected",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """The run to show.

    Attributes:
        id: The run's, also on W&B.
        name: What it is called there, unless the configuration names it.
        folder: Its directory.
        settings: Its configuration.
    """

    id: str
    name: str
    folder: Path
    settings: dict[str, Any]


class WandbRun:
    """An open run on W&B; every method may raise whatever W&B raises, after ``config.timeout`` seconds at most.

    Attributes:
        sent: Measurements that W&B did not have yet.
        url: Where it is shown; None offline.
    """

    def __init__(self, config: WandbConfig, source: Source, files: Path, from_here: bool = True) -> None:
        """Open the run, or open it again.

        Args:
            config: Where, and under which name.
            source: Which run.
            files: Folder for W&B's own files.
            from_here: Whether this process works on the run; if not, W&B is told nothing of this machine.
        """
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        self._source, self._rows = source, config.table_rows
        self._run = wandb.init(
            mode=config.mode,
            project=config.project,
            entity=config.entity,
            group=config.group,
            tags=config.tags,
            id=source.id,
            name=config.name or source.name,
            dir=str(files),
            config=source.settings,
            resume="allow" if config.mode == "online" else None,
            reinit="finish_previous",
            settings=wandb.Settings(
                init_timeout=config.timeout, login_timeout=config.timeout, finish_timeout=config.timeout,
                finish_timeout_raises=True, silent=True, console="off", x_disable_stats=True,
                x_disable_meta=not from_here, x_save_requirements=from_here,
            ),
        )  # fmt: skip
        self.sent, self._passed = 0, 0
        self.url: str | None = self._run.url
        self._timeout = config.timeout
        self._held = ask(self._run, config.timeout) if config.mode == "online" else Held()
        self._run.define_metric("epoch")
        self._run.define_metric("*", step_metric="epoch")

    def pass_on(self, lines: Sequence[Line], samples: Sequence[Line] | None = None) -> None:
        """The next measurement, from the run's first one on: sent, unless W&B has it.

        Args:
            lines: Its trajectory lines.
            samples: Held-out responses of it, for the table; None reads them from the run's directory.
        """
        self._passed += 1
        if self._held.has(self._passed, lines[0]["epoch"]):
            return
        import wandb

        values: dict[str, Any] = {}
        for line in lines:
            values |= flatten(line)
        if self._rows:
            rows = self._read_samples(lines[0]["epoch"]) if samples is None else samples[: self._rows]
            data = [[_cell(row[column]) for column in _SAMPLE_COLUMNS] for row in rows]
            values |= {"samples": wandb.Table(columns=list(_SAMPLE_COLUMNS), data=data)} if data else {}
        self._run.log(values)
        self.sent += 1

    def finish(self, lines: Sequence[Line], failed: bool) -> None:
        """Close the run, with the last line of a complete trajectory as its summary."""
        if not failed:
            self._run.summary.update({k: v for k, v in lines[-1].items() if not isinstance(v, dict)})
        self._run.finish(exit_code=int(failed))

    def arrived(self, lines: Sequence[Line]) -> bool:
        """Whether a server that was sent all of a trajectory has it; W&B's client does not say. Call after `finish`."""
        number, until = len({line["epoch"] for line in lines}), time.monotonic() + self._timeout
        while not ask(self._run, self._timeout).has(number, lines[-1]["epoch"]):
            if time.monotonic() > until:
                return False
            time.sleep(1)  # a large service counts a little later
        return True

    def _read_samples(self, epoch: float) -> list[Line]:
        path = self._source.folder / "samples" / f"{epoch_name(epoch)}.parquet"
        if not path.is_file():
            return []
        wanted = [("split", "==", "test")]
        table = read_parquet(path, self._source.folder, list(_SAMPLE_COLUMNS), wanted).head(self._rows)
        return [{str(k): None if _absent(v) else v for k, v in row.items()} for row in table.to_dict("records")]


def _absent(value: Any) -> bool:
    return value is None or value != value


def _cell(value: Any) -> Any:
    """W&B wants one type a column, shows text as HTML in places, and writes tables as CSV where one asks for it."""
    return html.escape(no_formula(sanitize(value or ""))) if value is None or isinstance(value, str) else value


def flatten(line: Line) -> dict[str, float]:
    """A trajectory line as W&B metrics: ``test/solver_accuracy``, ``test/pass_at_k/4``; nulls are left out."""
    split = line["split"]
    flat = {"epoch": float(line["epoch"])}
    for key, value in line.items():
        if isinstance(value, dict):
            flat |= {f"{split}/{key}/{inner}": v for inner, v in value.items() if v is not None}
        elif isinstance(value, int | float) and key not in ("epoch",):
            flat[f"{split}/{key}"] = value
    return flat
