"""Starting the ranks of a run and watching them.

The process that the user started is no rank: it holds the run's lock, passes signals on, and ends all ranks when one of
them dies, since the others would wait for it for ever. Ranks compose nothing; they are handed the settings.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sivgap.errors import Stopped
from sivgap.parallel.verdict import conclude, log_file
from sivgap.runs.files import write_json
from sivgap.runs.run import Run
from sivgap.signals import StopRequest

_LOOK = 0.05
"""Seconds between two looks at the ranks."""

_AFTER_FAILURE = 5.0
"""Seconds that the other ranks have once one has failed or died: enough to write down what they know of it."""

_AFTER_END = 60.0
"""Seconds that they have once one has ended in order; all end together, but W&B may be slow."""


@dataclass(frozen=True)
class Handed:
    """What the ranks of a run are handed, in a file: `settings` are resolved, `process` has started them."""

    settings: dict[str, object]
    path: str
    identifier: str
    process: int


def work_in_ranks(run: Run, stop: StopRequest) -> str | None:
    """Work on `run` with ``launch.processes`` ranks; why it ended early, if it did.

    Raises:
        RankDied: If something ended a rank.
        SivgapError: What ended the first rank that failed.
        Stopped: If a signal asked for it.
    """
    size = run.config.launch.processes
    with tempfile.TemporaryDirectory(prefix="sivgap-ranks-") as name, stop.deferred():
        folder = Path(name)
        handed = Handed(run.config.model_dump(mode="json"), str(run.path), run.id, os.getpid())
        write_json(folder / "run.json", asdict(handed))
        ranks: list[subprocess.Popen[bytes]] = []
        try:
            ranks.extend(_start(folder, rank, run.lock) for rank in range(size))
            codes = _watch(ranks, stop)
        finally:
            for process in ranks:
                process.kill()
                process.wait()
            run.reread()
        return conclude(codes, folder, stop)


def _start(folder: Path, rank: int, lock: int) -> subprocess.Popen[bytes]:
    """One rank, in a session of its own: a Ctrl-C reaches it through its parent alone. The first one may speak."""
    with log_file(folder, rank).open("wb") as log:
        said = 2 if rank == 0 else log
        command = [sys.executable, "-m", "sivgap.parallel", str(folder), str(rank)]
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, pass_fds=[lock], start_new_session=True
        )


def _watch(ranks: Sequence[subprocess.Popen[bytes]], stop: StopRequest) -> list[int | None]:
    """Until all have ended, or those that are left have had their time; exit statuses, None for those left."""
    passed_on, first_end = False, None
    while any(process.poll() is None for process in ranks):
        if stop.number is not None and not passed_on:
            for process in ranks:
                process.send_signal(stop.number)
            passed_on = True
        ended = [process.returncode for process in ranks if process.returncode is not None]
        if ended:
            first_end = first_end or time.monotonic()
            patience = _AFTER_END if {*ended} <= {0, Stopped.status} else _AFTER_FAILURE
            if time.monotonic() > first_end + patience:
                break
        time.sleep(_LOOK)
    return [process.returncode for process in ranks]
