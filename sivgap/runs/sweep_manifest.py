"""A sweep's directory: what its jobs are, and what became of each. The runs' own directories are the truth.

    sweep-1a2b3c4d5e/
        sweep.json            every job: identity, name (what differs), overrides; written once
        jobs/IDENTITY.json    attempts of one job, with host, process and outcome; written by whoever works on it
        jobs/IDENTITY.log     what the job said

One file a job, so jobs on many hosts never write to the same one.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sivgap.errors import RunError
from sivgap.runtime.checksums import Damaged, short_digest
from sivgap.runtime.files import write_json
from sivgap.runtime.process_identity import alive, birth
from sivgap.runtime.read import read_json

State = Literal["waiting", "running", "complete", "failed", "stopped", "killed", "lost", "elsewhere"]
"""``killed``: a signal ended its process. ``lost``: its host or launcher died with it. ``elsewhere``: another sweep or
command is working on the same run."""

_CHECKSUM = "checksum"
"""In each attempt, and not in a list of the folder's: jobs on many hosts never write to the same file."""

FINAL: tuple[State, ...] = ("complete", "failed")
"""States that another pass over the sweep does not change."""


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        identity: Of the run (`sivgap.runs.identity`).
        name: What distinguishes it from the others, ``strategy=early seed=1``.
        overrides: As Hydra passes them.
        run: Name of its run's directory, which lies beside the sweep's.
    """

    identity: str
    name: str
    overrides: tuple[str, ...]
    run: str


@dataclass(frozen=True)
class Attempt:
    """One process that worked on a job; `outcome` and `ended` are None while it does."""

    host: str
    process: int
    started: float
    ended: float | None = None
    outcome: State | None = None
    reason: str | None = None
    birth: str | None = None
    """Of the process (`sivgap.runtime.process_identity`): after a reboot another one may have its number."""


@dataclass(frozen=True)
class Progress:
    """Where a job stands: its state, attempts so far, and the epoch last measured."""

    job: Job
    state: State
    attempts: tuple[Attempt, ...]
    epoch: float | None
    reason: str | None

    @property
    def seconds(self) -> float:
        """Time spent on all its attempts so far."""
        return sum((a.ended or time.time()) - a.started for a in self.attempts)


class Sweep:
    """An existing sweep directory; `typed_in` is where its command was typed, which relative paths start from.

    Raises:
        RunError: If `path` holds no manifest that can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            found = read_json(path / "sweep.json", path)
            self.typed_in = Path(found["typed_in"])
            self.jobs = [_job(job) for job in found["jobs"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path}: no sweep (sweep.json cannot be read: {str(error)[:80]})") from error
        self._done: dict[str, Progress] = {}

    @staticmethod
    def create(path: Path, jobs: Sequence[Job]) -> Sweep:
        """Write the manifest; the same jobs make the same one."""
        (path / "jobs").mkdir(parents=True, exist_ok=True)
        write_json(path / "sweep.json", {"typed_in": str(Path.cwd()), "jobs": [asdict(job) for job in jobs]}, path)
        return Sweep(path)

    def job(self, identity: str) -> Job:
        """The job of this identity.

        Raises:
            RunError: If there is none.
        """
        found = [job for job in self.jobs if job.identity == identity]
        if not found:
            raise RunError(f"{self.path}: none of its jobs is run {identity}; did a file change that it reads?")
        return found[0]

    def run_path(self, job: Job) -> Path:
        return self.path.parent / job.run

    def log_path(self, job: Job) -> Path:
        return self.path / "jobs" / f"{job.identity}.log"

    def progress(self) -> list[Progress]:
        """Every job as it stands; those that are complete are read once."""
        return [self._done.get(job.identity) or self._read(job) for job in self.jobs]

    def begin(self, job: Job) -> None:
        """This process begins to work on `job`."""
        self._write(job, [*self._attempts(job), self._mine()])

    @staticmethod
    def _mine() -> Attempt:
        return Attempt(socket.gethostname(), os.getpid(), time.time(), birth=birth(os.getpid()))

    def end(self, job: Job, outcome: State, reason: str | None) -> None:
        """What became of the attempt that this process began."""
        *before, last = self._attempts(job)
        self._write(job, [*before, replace(last, ended=time.time(), outcome=outcome, reason=reason)])

    def _write(self, job: Job, attempts: Sequence[Attempt]) -> None:
        entries = [asdict(attempt) for attempt in attempts]
        write_json(self._file(job), [{**entry, _CHECKSUM: short_digest(entry)} for entry in entries])

    def _file(self, job: Job) -> Path:
        return self.path / "jobs" / f"{job.identity}.json"

    def _attempts(self, job: Job) -> list[Attempt]:
        try:
            return [_attempt(entry) for entry in read_json(self._file(job))]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, AttributeError) as error:
            raise RunError(f"{self._file(job)}: cannot be read; delete it, its run keeps everything") from error

    def _read(self, job: Job) -> Progress:
        attempts = self._attempts(job)
        run = self.run_path(job)
        status = _status(run)
        last = attempts[-1] if attempts else None
        state: State
        reason = last.reason if last else None
        if status.get("state") == "complete":
            state, reason = "complete", status.get("reason")
        elif is_worked_on(run):
            state = "running" if last and last.outcome is None else "elsewhere"
        elif last is None:
            state = "waiting"
        else:
            state = last.outcome or ("running" if _alive(last) else "lost")
        found = Progress(job, state, tuple(attempts), _last_epoch(run), reason)
        if state == "complete":
            self._done[job.identity] = found
        return found


def _job(stored: dict[str, Any]) -> Job:
    """ValueError unless its names are those of files in the sweep's directory and beside it, and nowhere else."""
    job = Job(**{**stored, "overrides": tuple(stored["overrides"])})
    if not re.fullmatch(r"[0-9a-f]{16}", job.identity) or not re.fullmatch(r"\w[\w.-]{0,250}", job.run):
        raise ValueError(f"no identity and run: {job.identity[:20]!r}, {job.run[:60]!r}")
    return job


def _attempt(stored: dict[str, Any]) -> Attempt:
    """ValueError if it is not what was written; those of older versions do not say."""
    said = stored.pop(_CHECKSUM, None)
    if said is not None and said != short_digest(stored):
        raise ValueError("it does not have the checksum of what was written")
    return Attempt(**stored)


def is_worked_on(run: Path) -> bool:
    """Whether a process, on whichever host, holds the run's lock."""
    try:
        with (run / ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _alive(attempt: Attempt) -> bool:
    """Whether the attempt's process lives; on another host that cannot be told, and it is taken to."""
    if attempt.host != socket.gethostname():
        return True
    return alive(attempt.process) and (attempt.birth is None or birth(attempt.process) == attempt.birth)


def _status(run: Path) -> dict[str, Any]:
    try:
        found = read_json(run / "status.json", run)
    except (OSError, ValueError, Damaged):
        return {}
    return found if isinstance(found, dict) else {}


def _last_epoch(run: Path) -> float | None:
    """Of the last whole line of the trajectory, read from the file's end."""
    try:
        with (run / "trajectory.jsonl").open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 16_384))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            return float(json.loads(line)["epoch"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return None
