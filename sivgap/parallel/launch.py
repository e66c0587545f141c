"""Starting the ranks of a run, watching them, and saying how they ended.

The process that the user started is no rank: it holds the run's lock, passes signals on, and ends all ranks when one of
them dies, since the others would wait for it for ever. Ranks compose nothing; they are handed the settings.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sivgap.errors import ConfigError, RankDied, RunError, SivgapError, Stopped
from sivgap.runs.files import write_json
from sivgap.runs.run import Run
from sivgap.signals import StopRequest

_LOOK = 0.05
"""Seconds between two looks at the ranks."""

_AFTER_FAILURE = 5.0
"""Seconds that the other ranks have once one has failed or died: enough to write down what they know of it."""

_AFTER_END = 60.0
"""Seconds that they have once one has ended in order; all end together, but W&B may be slow."""

_TAIL = 2_000
"""Characters of what a rank said last that go into the log."""

_log = logging.getLogger("sivgap")


@dataclass(frozen=True)
class Handed:
    """What the ranks of a run are handed, in a file: `settings` are resolved, `process` has started them."""

    settings: dict[str, object]
    path: str
    identifier: str
    process: int


@dataclass(frozen=True)
class End:
    """How a rank ended, by its own word: exit status, when, what is told, and for a failure the traceback."""

    status: int
    time: float
    text: str | None
    traceback: str | None = None


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
        return _conclude(codes, folder, stop)


def end_file(folder: Path, rank: int) -> Path:
    """Where a rank says how it ended."""
    return folder / f"rank-{rank}.json"


def _start(folder: Path, rank: int, lock: int) -> subprocess.Popen[bytes]:
    """One rank, in a session of its own: a Ctrl-C reaches it through its parent alone. The first one may speak."""
    with (folder / f"rank-{rank}.log").open("wb") as log:
        said = 2 if rank == 0 else log
        command = [sys.executable, "-m", "sivgap.parallel.worker", str(folder), str(rank)]
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


def _conclude(codes: Sequence[int | None], folder: Path, stop: StopRequest) -> str | None:
    """One verdict of all ranks. What died comes first: the others failed for want of it. Then who failed first."""
    for rank, code in enumerate(codes):
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            if stop.number == -code:
                raise stop.stopped("before the run was under way")
            _log.error("rank %d was ended by %s; it said:\n%s", rank, name, _tail(folder, rank))
            raise RankDied(
                f"a rank died: process {rank + 1} of {len(codes)} was ended by {name}"
                f"{' (short of memory?)' if name == 'SIGKILL' else ''}; run the same command to go on"
            )
    ends = {rank: _end(folder, rank) for rank in range(len(codes))}
    known = {rank: end for rank, end in ends.items() if end is not None}
    if 0 in codes:  # nobody leaves before all have come to the end
        return known[codes.index(0)].text
    if not known:
        rank, code = next((rank, code) for rank, code in enumerate(codes) if code is not None)
        said = _tail(folder, rank)
        _log.error("rank %d said:\n%s", rank, said)
        raise RunError(f"process {rank + 1} of {len(codes)} ended with status {code}: {' '.join(said.split())[-200:]}")
    rank = min(known, key=lambda rank: known[rank].time)
    end = known[rank]
    if end.traceback is not None:
        _log.error("rank %d:\n%s", rank, end.traceback)
    kinds: dict[int, type[SivgapError]] = {Stopped.status: Stopped, ConfigError.status: ConfigError}
    raise kinds.get(end.status, RunError)(end.text)


def _end(folder: Path, rank: int) -> End | None:
    try:
        return End(**json.loads(end_file(folder, rank).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def _tail(folder: Path, rank: int) -> str:
    """What a rank said last; the first one has said it to the user."""
    return (folder / f"rank-{rank}.log").read_text(encoding="utf-8", errors="replace")[-_TAIL:].strip()
