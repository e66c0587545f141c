"""Weights & Biases while a run is under way: a view of it. The directory is the truth; nothing here may stop a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sivgap.config.schema import WandbConfig
from sivgap.tracking.wandb_run import Source, WandbRun

_log = logging.getLogger("sivgap.tracking")


class WandbTracker:
    """Streams measurements against our own ``epoch``. After the first failure it falls silent and the run goes on."""

    def __init__(self, config: WandbConfig, source: Source, say: Callable[[str], None]) -> None:
        self._run: WandbRun | None = None
        self._say = say
        if config.mode != "disabled":
            with self._harmless():
                self._run = WandbRun(config, source, source.folder)

    def log(self, lines: Sequence[dict[str, Any]], samples: Sequence[dict[str, Any]] | None = None) -> None:
        """The next measurement (`WandbRun.pass_on`); what was measured before an interruption comes first, again."""
        if self._run is not None:
            with self._harmless():
                self._run.pass_on(lines, samples)

    def finish(self, lines: Sequence[dict[str, Any]], failed: bool) -> None:
        """Send the summary and close the run."""
        if self._run is not None:
            with self._harmless():
                self._run.finish(lines, failed)
        self._run = None

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever W&B raises, training matters more
            _log.exception("W&B failed")
            self._say(
                f"W&B failed and is off for the rest of this run ({reason_of(error)}); the run directory has "
                "everything, and sivgap.upload sends it later"
            )
            self._run = None


def reason_of(error: Exception) -> str:
    """What W&B says, on a line."""
    return " ".join(str(error).split())[:160] or type(error).__name__
