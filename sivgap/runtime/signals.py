"""Stopping on a signal: at once while nothing is at stake, at the next batch while a run is under way."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sivgap.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
"""What asks a run to stop. SIGUSR1 and SIGUSR2 are what schedulers send ahead of the end of a job's time."""


class _AtOnce(BaseException):
    """Ends what is under way. No Exception: whoever opens a model or a service would take it for their failure."""


class StopRequest:
    """Whether a signal asked the run to stop. A second SIGINT interrupts wherever it finds the program."""

    def __init__(self) -> None:
        self._signal: str | None = None
        self._deferred = False

    def __bool__(self) -> bool:
        return self._signal is not None

    @property
    def number(self) -> signal.Signals | None:
        """The signal, once there was one."""
        return None if self._signal is None else signal.Signals[self._signal]

    def stopped(self, where: str) -> Stopped:
        """The exception that ends the run."""
        return Stopped(f"stopped by {self._signal or 'a signal'} {where}; run the same command to go on")

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Within this block a signal is only noted, for the block's code to look at."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def _handle(self, number: int, frame: object) -> None:
        self._signal = signal.Signals(number).name
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if not self._deferred:
            raise _AtOnce


@contextmanager
def handle_signals() -> Iterator[StopRequest]:
    """Listen for these signals; earlier handlers return at the end.

    Raises:
        Stopped: If one came while nothing was at stake.
    """
    request = StopRequest()
    before = {number: signal.signal(number, request._handle) for number in SIGNALS}
    try:
        yield request
    except _AtOnce:
        raise request.stopped("before the run was under way") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def follow_parent(parent: int) -> None:
    """Ask this process to stop once `parent` is gone: nobody waits for its result any more."""
    while os.getppid() == parent:
        time.sleep(0.5)
    with suppress(ProcessLookupError):
        os.kill(os.getpid(), signal.SIGTERM)
