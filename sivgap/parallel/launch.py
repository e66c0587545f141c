"""Starting the ranks of a run and watching them.

The process that the user started is no rank: it holds the run's lock, passes signals on, and ends all ranks when one of
them dies, since the others would wait for it for ever. Ranks compose nothing; they are handed the settings. Of several
machines each has such a process (`machines`), and what happens on one happens on all (`others`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sivgap.config.schema import LaunchConfig, ProcessesConfig
from sivgap.errors import Stopped
from sivgap.parallel.peers import FollowerPeers, LeaderPeers, NoPeers, Peers
from sivgap.parallel.place import bare, find_place
from sivgap.parallel.verdict import conclude, log_file
from sivgap.runtime.files import write_json
from sivgap.runtime.signals import StopRequest

_LOOK = 0.05
"""Seconds between two looks at the ranks."""

_AFTER_DEATH = 5.0
"""Seconds that the other ranks have once one has died: enough to write down what they know of it."""

_AFTER_FAILURE = 30.0
"""Seconds that they have once one has failed: mostly all have, and the first one still writes what was measured."""

_AFTER_END = 60.0
"""Seconds that they have once one has ended in order; all end together, but W&B may be slow."""


@dataclass(frozen=True)
class WorkerSpec:
    """What the ranks of a machine are handed, in a file.

    Attributes:
        command: ``train`` or ``evaluate``.
        settings: Resolved.
        path, identifier: The run's directory and identity.
        process: Has started them.
        first, here, size: The first one's rank, how many are on this machine, and in all.
        meeting: Where they meet: address, port and name of a store. None on one machine.
    """

    command: str
    settings: dict[str, object]
    path: str
    identifier: str
    here: int
    process: int = 0
    first: int = 0
    size: int = 0
    meeting: tuple[str, int, str] | None = None


def in_ranks(launch: ProcessesConfig) -> bool:
    """Whether a run has ranks, or is worked on by the process that was started."""
    sharded = isinstance(launch, LaunchConfig) and launch.shard
    return launch.processes > 1 or sharded or find_place(os.environ).nodes > 1


def work_in_ranks(spec: WorkerSpec, stop: StopRequest, lock: int | None = None) -> str | None:
    """Work on a run with ``launch.processes`` ranks of each machine; why it ended early, if it did.

    Args:
        handed: Of the first machine; who started the ranks, and how many there are in all, is found here.
        lock: A descriptor that the ranks of this machine keep open.

    Raises:
        RankDied: If something ended a rank, or cut a machine off.
        SivgapError: What ended the first rank that failed.
        Stopped: If a signal asked for it.
    """
    place = find_place(os.environ)
    with tempfile.TemporaryDirectory(prefix="sivgap-ranks-") as name, stop.deferred():
        folder = Path(name)
        if place.nodes == 1:
            codes = run_ranks(replace(spec, size=spec.here), folder, NoPeers(), stop, lock)
            return conclude(codes, folder, stop)
        with LeaderPeers.open(place, stop) as others:
            shared = others.hand_out(asdict(spec))
            codes = run_ranks(WorkerSpec(**shared), folder, others, stop, lock)
            if 0 not in codes:
                codes += others.reports(folder, _AFTER_END)
            return conclude(codes, folder, stop)


def follow_run(shared: dict[str, object], others: FollowerPeers, stop: StopRequest) -> None:
    """The ranks of another machine than the first, from their start to a report of how they ended."""
    with tempfile.TemporaryDirectory(prefix="sivgap-ranks-") as name:
        folder = Path(name)
        codes = run_ranks(WorkerSpec(**shared), folder, others, stop)  # type: ignore[arg-type]
        others.report(codes, folder)


def run_ranks(
    spec: WorkerSpec, folder: Path, others: Peers, stop: StopRequest, lock: int | None = None
) -> list[int | None]:
    """Start this machine's ranks, and watch them until none is left; as `_watch`."""
    write_json(folder / "run.json", asdict(replace(spec, process=os.getpid())))
    ranks: list[subprocess.Popen[bytes]] = []
    try:
        ranks.extend(_start(folder, spec.first + i, lock) for i in range(spec.here))
        return _watch(ranks, stop, others)
    finally:
        for process in ranks:
            process.kill()
            process.wait()


def _start(folder: Path, rank: int, lock: int | None) -> subprocess.Popen[bytes]:
    """One rank, in a session of its own: a Ctrl-C reaches it through its parent alone. The first one may speak."""
    with log_file(folder, rank).open("wb") as log:
        said = 2 if rank == 0 else log
        return subprocess.Popen(
            [sys.executable, "-m", "sivgap.parallel", str(folder), str(rank)],
            stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=bare(os.environ),
            pass_fds=[] if lock is None else [lock], start_new_session=True,
        )  # fmt: skip


def _watch(ranks: Sequence[subprocess.Popen[bytes]], stop: StopRequest, others: Peers) -> list[int | None]:
    """Until all have ended, or those that are left have had their time; exit statuses, None for those left."""
    passed_on, first_end = False, None
    while None in [process.poll() for process in ranks]:  # all of them are asked, whichever still works
        asked = stop.number or others.stop()
        if asked is not None and not passed_on:
            for process in ranks:
                process.send_signal(asked)
            passed_on = True
        ended = [process.returncode for process in ranks if process.returncode is not None]
        others.tell(ended, asked)
        if anywhere := {*ended, *others.ended()}:
            first_end = first_end or time.monotonic()
            died = min(anywhere) < 0  # by a signal
            patience = _AFTER_END if anywhere <= {0, Stopped.status} else _AFTER_DEATH if died else _AFTER_FAILURE
            if time.monotonic() > first_end + patience:
                break
        if others.gone():
            break
        time.sleep(_LOOK)
    codes = [process.returncode for process in ranks]
    others.tell([code for code in codes if code is not None], None)
    return codes
