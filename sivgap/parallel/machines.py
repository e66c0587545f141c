"""Several machines at one run: the first one resolves the settings and leads, the others start ranks and watch them.

Each machine has one process that is no rank (`launch`). They tell each other through a store what they have started
and how it ended; a machine that is not heard of any more ends the run on all others. The run's directory is on a file
system that all of them see; the first rank alone writes.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from sivgap.errors import RunError, SivgapError
from sivgap.parallel.heartbeat import RUN, SILENCE, STORE, Heartbeat, machine, open_store
from sivgap.parallel.launch import follow_run
from sivgap.parallel.neighbours import wait_for_first, waited_for
from sivgap.parallel.peers import FollowerPeers
from sivgap.parallel.place import Place, find_place
from sivgap.runtime.signals import StopRequest, handle_signals

_LOOK = 0.05
_FAREWELL = 5.0
"""Seconds that the first machine waits for the others to have heard that it ends."""


@contextmanager
def gathered() -> Iterator[None]:
    """Around a command: its body is for the one process that leads; the others work for it, and exit as it does."""
    try:
        place = find_place(os.environ)
        if place.local:
            sys.exit(wait_for_first())
        alone = place.nodes == 1
        with waited_for((place.processes or 1) - 1) as tell_neighbours, _telling(tell_neighbours):
            if alone:
                yield
            elif place.node:
                _follow(place)
            else:
                with _leading(place):
                    yield
    except SivgapError as error:
        print(f"sivgap: {error}", file=sys.stderr)
        sys.exit(error.status)


@contextmanager
def _leading(place: Place) -> Iterator[None]:
    """Around the first machine's command: the others learn that it lives, and at last how it ended."""
    store = open_store(place)
    os.environ[STORE] = "1"
    others = [machine(node) for node in range(1, place.nodes)]
    line = Heartbeat(store, machine(0), others)

    def farewell(status: int) -> None:
        line.say(end=status)
        patience = time.monotonic() + _FAREWELL
        while time.monotonic() < patience and not all(_has_left(line, other) for other in others):
            time.sleep(_LOOK)

    with _telling(farewell):
        yield


@contextmanager
def _telling(tell: Callable[[int], None]) -> Iterator[None]:
    """Around a command: at its end `tell` is called with its exit status."""
    status = 1
    try:
        yield
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    finally:
        tell(status)


def _has_left(line: Heartbeat, other: str) -> bool:
    return "left" in line.of(other) or line.silence(other) > SILENCE


def _follow(place: Place) -> NoReturn:
    """The whole life of another machine's process: it serves run after run, and ends as the first machine does."""
    with handle_signals() as stop:
        line = Heartbeat(open_store(place), machine(place.node), [machine(0), RUN])
        line.say(host=socket.gethostname(), processes=place.processes)
        try:
            status = _serve_all(place, line, stop)
        finally:
            line.say(left=True)
            line.flush(1)
        sys.exit(status)


def _serve_all(place: Place, line: Heartbeat, stop: StopRequest) -> int:
    """Exit status of the first machine's process."""
    served = None
    while "end" not in line.of(machine(0)):
        if line.silence(machine(0)) > SILENCE:
            raise RunError(
                f"machine {place.node + 1} of {place.nodes}: the first one, {place.address}, has not been heard of for "
                f"{SILENCE:.0f} seconds; this one ends, run the same command to go on"
            )
        run = line.of(RUN)
        if "shares" in run and run["id"] != served and not run.get("over"):
            served = run["id"]
            _serve(place, line, run, stop)
        time.sleep(_LOOK)
    return int(line.of(machine(0))["end"])


def _serve(place: Place, line: Heartbeat, run: dict[str, Any], stop: StopRequest) -> None:
    """This machine's part of one run; how its ranks ended is its word."""
    line.say(run=run["id"], ended=[], stop=None, report=None)
    share = run["shares"][place.node]
    try:
        os.chdir(run["typed_in"])
        if not Path(share["path"]).is_dir():
            raise FileNotFoundError(share["path"])
    except OSError as error:
        where = error.filename or error
        told = f"machine {place.node + 1} of {place.nodes} ({socket.gethostname()}) does not see {where}; runs_dir and "
        line.say(report={"error": told + "the folder that the command is typed in must be on a file system of all"})
        return
    with stop.deferred():
        follow_run(share, FollowerPeers(line, run["id"], share["first"]), stop)
    end = time.monotonic() + SILENCE  # stopped, it ends with the first one
    while stop and "end" not in line.of(machine(0)) and time.monotonic() < end:
        time.sleep(_LOOK)
