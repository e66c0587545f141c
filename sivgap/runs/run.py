"""A run's directory: the run's truth. The same configuration finds the same directory and goes on where it stopped."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import yaml

from sivgap.config.model import UNNAMED
from sivgap.config.schema import TrainConfig
from sivgap.errors import RunError
from sivgap.registry import file_stem
from sivgap.runs.identity import identity
from sivgap.runs.names import epoch_name, numbered_directory
from sivgap.runs.trajectory import Trajectory
from sivgap.runtime.checksums import Damaged
from sivgap.runtime.files import drop_unfinished, write_json, write_text
from sivgap.runtime.process_identity import alive
from sivgap.runtime.read import read_yaml
from sivgap.runtime.versions import versions

_SHOWN = 10
"""Digits of the identity in a directory's name."""


class RunBusy(RunError):  # noqa: N818 - nothing is wrong
    """Another process is working on the run."""


class Run:
    """An open run directory, locked against a second process.

    Attributes:
        id: The run's identity with its number among fresh starts; also its W&B id.
        state: ``running``, ``complete``, ``failed`` or ``stopped``, as found when opened.
        notes: What was found damaged, a sentence each.
    """

    def __init__(self, config: TrainConfig, wait: bool = False) -> None:
        """Find or make the directory of `config`; if another process has it, `wait` for that.

        Raises:
            RunBusy: If another process has it.
            RunError: If it cannot be written.
        """
        self.config = config
        key = identity(config)
        self.path = run_directory(config, key)
        self.id = f"{key}{self.path.name.rpartition(key[:_SHOWN])[2]}"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock: IO[str] = (self.path / ".lock").open("a+")
        except OSError as error:
            raise RunError(f"{self.path}: cannot be written ({error.strerror}); set runs_dir=FOLDER") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            self._lock.seek(0)
            who = self._lock.read(200).strip() or "another process"
            if not _is_gone(who):
                raise RunBusy(f"{self.path}: {who} is working on this run; wait for it, or use fresh=true") from error
            fcntl.flock(self._lock, fcntl.LOCK_EX)  # its ranks hold the lock until they have noticed
        self._lock.truncate(0)
        self._lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        self._lock.flush()
        for folder in (self.path, self.path / "samples", self.checkpoints):
            drop_unfinished(folder)
        self._look()

    @classmethod
    def of_rank(cls, config: TrainConfig, path: Path, identifier: str) -> Run:
        """The run as one of its ranks sees it: opened, and locked, by the process that started the rank."""
        run = cls.__new__(cls)
        run.config, run.path, run.id = config, path, identifier
        run._look()
        return run

    def _look(self) -> None:
        self.notes: list[str] = []
        self.trajectory = Trajectory(self.path / "trajectory.jsonl")
        self.status = self._read_status()
        self.state = str(self.status.get("state", "new"))
        self._started, self._before = time.monotonic(), float(self.status.get("seconds", 0.0))

    @property
    def lock(self) -> int:
        """The lock's descriptor: the run stays locked as long as any process that was given it lives."""
        return self._lock.fileno()

    @property
    def lost(self) -> bool:
        """Whether what a complete run has measured cannot be read any more: its last checkpoint knows it, too."""
        try:
            return not self.trajectory.read()
        except RunError:
            return True

    def begin(self, hardware: dict[str, Any], model_commit: str | None) -> None:
        """Write the configuration and mark the run as running."""
        settings = yaml.safe_dump(self.config.model_dump(mode="json"), sort_keys=False)
        write_text(self.path / "config.yaml", settings, self.path)
        self.status |= {
            "id": self.id,
            "versions": versions(),
            "hardware": hardware,
            "git_commit": _git_commit(),
            "model_commit": model_commit,
        }
        self.mark("running", None)

    def mark(self, state: str, reason: str | None) -> None:
        """Record the run's state, why, and the seconds worked on it over all attempts."""
        seconds = round(self._before + time.monotonic() - self._started, 1)
        self.status |= {"state": state, "reason": reason, "seconds": seconds}
        write_json(self.path / "status.json", self.status, self.path)

    def mark_end(self, state: str, reason: str) -> None:
        """As `mark`, but where that cannot be written either, what ended the run is still what is told."""
        with suppress(OSError):
            self.mark(state, reason)

    def reread(self) -> None:
        """Take over what a rank has written into ``status.json``."""
        self.status = self._read_status()

    def samples_path(self, epoch: float) -> Path:
        return self.path / "samples" / f"{epoch_name(epoch)}.parquet"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def log(self) -> Path:
        """What happened, tracebacks included."""
        return self.path / "sivgap.log"

    def close(self) -> None:
        self._lock.close()

    def _read_status(self) -> dict[str, Any]:
        path = self.path / "status.json"
        if not path.exists():
            return {}
        try:
            status = read_yaml(path, self.path)
        except Damaged:
            self.notes.append(f"{path}: damaged; the run goes on from its checkpoints, and writes it anew")
            return {}
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: not readable; repair it, delete it, or use fresh=true") from error
        return status if isinstance(status, dict) else {}


def run_directory(config: TrainConfig, key: str) -> Path:
    """The newest directory of the run with identity `key`; with ``fresh`` a new one: NAME, NAME-2, NAME-3, ..."""
    external = "" if config.cross.strategy == "none" else f"-{config.cross.strategy}"
    verifier = file_stem(config.verifier.name) + external
    behind = "-".join((file_stem(config.dataset.name), verifier, f"seed{config.seed}", key[:_SHOWN]))
    names = [f"{name}-{behind}" for name in (config.model.label, UNNAMED)]
    return numbered_directory(Path(config.runs_dir), names, config.fresh)


def _is_gone(who: str) -> bool:
    """Whether the process that wrote `who` into the lock was of this host and has ended."""
    found = re.fullmatch(r"process (\d+) on (.+)", who)
    return found is not None and found[2] == socket.gethostname() and not alive(int(found[1]))


def _git_commit() -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    here = Path(__file__).parent
    done = subprocess.run([git, "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
