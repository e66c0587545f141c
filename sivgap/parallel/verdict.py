"""How the ranks of a run ended, as one sentence and one exit status."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sivgap.errors import ConfigError, RankDied, RunError, SivgapError, Stopped
from sivgap.runtime.signals import StopRequest

_TAIL = 2_000
"""Characters of what a rank said last that go into the log."""

_log = logging.getLogger("sivgap")


@dataclass(frozen=True)
class End:
    """How a rank ended, by its own word: exit status, when, what is told, and for a failure the traceback."""

    status: int
    time: float
    text: str | None
    traceback: str | None = None


def end_file(folder: Path, rank: int) -> Path:
    """Where a rank says how it ended."""
    return folder / f"rank-{rank}.json"


def log_file(folder: Path, rank: int) -> Path:
    """What a rank says, but for the first one, which says it to the user."""
    return folder / f"rank-{rank}.log"


def conclude(codes: Sequence[int | None], folder: Path, stop: StopRequest) -> str | None:
    """The verdict on ranks that ended with `codes` (None: had to be ended) and left their words in `folder`.

    Returns:
        What ended the run early, if anything did, of ranks that came to its end.

    Raises:
        RankDied: If something ended one. The others then failed for want of it.
        SivgapError: What ended the first that failed.
        Stopped: If a signal asked for it.
    """
    known = {rank: end for rank in range(len(codes)) if (end := read_end(folder, rank)) is not None}
    if 0 in codes:  # nobody leaves before all have come to the end
        return known[codes.index(0)].text
    dead = {rank: signal.Signals(-code) for rank, code in enumerate(codes) if code is not None and code < 0}
    if stop.number is not None and stop.number in dead.values():
        raise stop.stopped("before the run was under way")
    killed = {rank: number for rank, number in dead.items() if number != signal.SIGABRT}
    if killed or (dead and not known):  # gloo may abort when it loses a connection: the cause is another rank's
        raise _died(codes, *next(iter((killed or dead).items())), folder)
    if not known:
        rank, code = next((rank, code) for rank, code in enumerate(codes) if code is not None)
        said = read_tail(folder, rank)
        _log.error("rank %d said:\n%s", rank, said)
        raise RunError(f"process {rank + 1} of {len(codes)} ended with status {code}: {' '.join(said.split())[-200:]}")
    raise _first_failure(known)


def _died(codes: Sequence[int | None], rank: int, number: signal.Signals, folder: Path) -> RankDied:
    _log.error("rank %d was ended by %s; it said:\n%s", rank, number.name, read_tail(folder, rank))
    memory = " (short of memory?)" if number == signal.SIGKILL else ""
    return RankDied(
        f"a rank died: process {rank + 1} of {len(codes)} was ended by {number.name}{memory}; run the same command to "
        "go on"
    )


def _first_failure(known: Mapping[int, End]) -> SivgapError:
    rank = min(known, key=lambda rank: known[rank].time)
    end = known[rank]
    if end.traceback is not None:
        _log.error("rank %d:\n%s", rank, end.traceback)
    kinds: dict[int, type[SivgapError]] = {Stopped.status: Stopped, ConfigError.status: ConfigError}
    return kinds.get(end.status, RunError)(end.text)


def read_end(folder: Path, rank: int) -> End | None:
    """What a rank said of its end; None if it could not."""
    try:
        return End(**json.loads(end_file(folder, rank).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def read_tail(folder: Path, rank: int) -> str:
    """What it said last."""
    return log_file(folder, rank).read_text(encoding="utf-8", errors="replace")[-_TAIL:].strip()
