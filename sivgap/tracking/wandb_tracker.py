"""Weights & Biases: a view of a run. The run directory is the truth; nothing here may stop a run."""

from __future__ import annotations

import html
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sivgap.config.schema import WandbConfig

_SAMPLE_COLUMNS = (
    "problem_id", "sample", "question", "text", "answer", "reference", "correct", "score", "nll", "length", "selected",
)  # fmt: skip

_log = logging.getLogger("sivgap.tracking")


class WandbTracker:
    """Streams measurements against our own ``epoch``. After the first failure it falls silent and the run goes on."""

    def __init__(
        self,
        config: WandbConfig,
        run_id: str,
        name: str,
        folder: Path,
        settings: dict[str, Any],
        say: Callable[[str], None],
    ) -> None:
        self._run: Any = None
        self._say, self._rows = say, config.table_rows
        self._received = -1.0
        if config.mode != "disabled":
            self._try(self._start, config, run_id, name, folder, settings)

    def log(self, lines: Sequence[dict[str, Any]], samples: Sequence[dict[str, Any]] = ()) -> None:
        """One measurement: its trajectory lines and, as a table, some of its responses (text is escaped).

        What an online run had received before it was interrupted is not sent again.
        """
        if lines[0]["epoch"] > self._received:
            self._try(self._send, lines, samples)

    def _send(self, lines: Sequence[dict[str, Any]], samples: Sequence[dict[str, Any]]) -> None:
        import wandb

        values: dict[str, Any] = {}
        for line in lines:
            values |= flatten(line)
        if samples and self._rows:
            data = [[_cell(row[column]) for column in _SAMPLE_COLUMNS] for row in samples[: self._rows]]
            values["samples"] = wandb.Table(columns=list(_SAMPLE_COLUMNS), data=data)
        self._run.log(values)

    def finish(self, summary: dict[str, Any], failed: bool) -> None:
        """Send the summary and close the run."""

        def close() -> None:
            self._run.summary.update(summary)
            self._run.finish(exit_code=int(failed))

        self._try(close)
        self._run = None

    def _start(self, config: WandbConfig, run_id: str, name: str, folder: Path, settings: dict[str, Any]) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        self._run = wandb.init(
            mode=config.mode,
            project=config.project,
            entity=config.entity,
            group=config.group,
            tags=config.tags,
            id=run_id,
            name=config.name or name,
            dir=str(folder),
            config=settings,
            resume="allow" if config.mode == "online" else None,
            reinit="finish_previous",
            settings=wandb.Settings(init_timeout=30, silent=True, console="off", x_disable_stats=True),
        )
        if self._run.resumed:
            self._received = float(self._run.summary.get("epoch", -1.0))
        self._run.define_metric("epoch")
        self._run.define_metric("*", step_metric="epoch")

    def _try(self, action: Callable[..., None], *arguments: Any) -> None:
        if self._run is None and action != self._start:
            return
        try:
            action(*arguments)
        except Exception as error:  # whatever W&B raises, training matters more
            _log.exception("W&B failed")
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            self._say(f"W&B failed and is off for the rest of this run ({reason}); the run directory has everything")
            self._run = None


def _cell(value: Any) -> Any:
    """W&B wants one type a column, and shows text as HTML in places."""
    return html.escape("" if value is None else value) if value is None or isinstance(value, str) else value


def flatten(line: dict[str, Any]) -> dict[str, float]:
    """A trajectory line as W&B metrics: ``test/solver_accuracy``, ``test/pass_at_k/4``; nulls are left out."""
    split = line["split"]
    flat = {"epoch": float(line["epoch"])}
    for key, value in line.items():
        if isinstance(value, dict):
            flat |= {f"{split}/{key}/{inner}": v for inner, v in value.items() if v is not None}
        elif isinstance(value, int | float) and key not in ("epoch",):
            flat[f"{split}/{key}"] = value
    return flat
