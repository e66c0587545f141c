"""What machines tell each other: each writes down how things stand with it, over and over, and reads the others' word.

Words are states, not messages: nothing is lost, nothing has to be answered, and a machine that has died, or cannot be
reached any more, is one whose word has stopped changing.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sivgap.errors import RunError
from sivgap.parallel.place import Place

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

_EVERY = 0.25
"""Seconds between two words of a machine."""

SILENCE = 20.0
"""Seconds without a new word from a machine after which it counts as lost; a busy one misses a few, not eighty."""

_TRY = 2.0
"""Seconds of one attempt to connect."""

ARRIVAL = 600.0
"""Seconds that machines wait for each other at the start."""

STORE = "SIVGAP_STORE_SERVED"
"""Environment variable that tells a process started by the first machine's (a job of a sweep) that there is a store."""

RUN = "run"
"""The name on the line of the process that leads a run; of a sweep it is another one for each."""

_GET_ADDRESS = 0x8915
"""SIOCGIFADDR of Linux, netdevice(7)."""


def machine(node: int) -> str:
    """The name on the line of the process that a launcher has started on machine `node`."""
    return f"machine/{node}"


class Heartbeat(threading.Thread):
    """Writes the word of `mine` into `store`, and reads those of `others`, until it is closed."""

    def __init__(self, store: Store, mine: str, others: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self._store, self._mine = store, mine
        self._word: dict[str, Any] = {}
        self._words: dict[str, dict[str, Any]] = {}
        self._since = dict.fromkeys(others, time.monotonic())
        self._closed, self._broken = threading.Event(), False
        self._written = 0
        self.start()

    def say(self, **changes: Any) -> None:
        """From now on `changes` are part of the word."""
        self._word = {**self._word, **changes}

    def of(self, other: str) -> dict[str, Any]:
        """The latest word of another; empty as long as there is none."""
        return self._words.get(other, {})

    def silence(self, other: str) -> float:
        """Seconds since a new word of another came; infinite once the store is gone."""
        return float("inf") if self._broken else time.monotonic() - self._since[other]

    def flush(self, patience: float) -> None:
        """Until what was said is written."""
        target, end = self._written + 2, time.monotonic() + patience
        while self._written < target and not self._broken and time.monotonic() < end:
            time.sleep(_EVERY / 5)

    def close(self) -> None:
        self._closed.set()

    def run(self) -> None:
        with suppress(RuntimeError, OSError):  # whatever ends it, the store cannot be reached any more
            while not self._closed.is_set():
                self._exchange()
                self._closed.wait(_EVERY)
        self._broken = not self._closed.is_set()

    def _exchange(self) -> None:
        self._store.set(self._mine, json.dumps({**self._word, "beat": time.time()}))
        self._written += 1
        for other in self._since:
            if self._store.check([other]):
                word = json.loads(self._store.get(other))
                if word.get("beat") != self._words.get(other, {}).get("beat"):
                    self._since[other] = time.monotonic()
                self._words[other] = word


def open_store(place: Place) -> Store:
    """What all machines read and write.

    Raises:
        RunError: If the first machine cannot be reached.
    """
    served = place.served or STORE in os.environ or place.node > 0
    end = time.monotonic() + ARRIVAL
    while served and not _reachable(place.address, place.port):
        if time.monotonic() > end:
            raise RunError(
                f"the first machine, {place.address}, cannot be reached at port {place.port} (waited {ARRIVAL:.0f} "
                "seconds); see that MASTER_ADDR and MASTER_PORT are right, and open to this machine"
            )
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

    try:
        whole = TCPStore(
            place.address, place.port, is_master=not served, timeout=timedelta(seconds=SILENCE), wait_for_workers=False
        )
    except RuntimeError as error:
        raise RunError(
            f"machines cannot meet at {place.address}, port {place.port} ({str(error).splitlines()[0][:120]}); set "
            "MASTER_PORT to a free one"
        ) from error
    return PrefixStore(f"sivgap/{place.attempt}", whole)


def _reachable(address: str, port: int) -> bool:
    """Whether somebody listens there; waits a little for it."""
    try:
        with socket.create_connection((address, port), _TRY):
            return True
    except OSError:
        time.sleep(_EVERY)
        return False


def interface_towards(address: str) -> str | None:
    """Name of the network interface through which `address` is reached; None where it cannot be told.

    gloo takes the one that the machine's own name leads to, which often is the loopback.
    """
    import fcntl

    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))  # sends nothing
        own = probe.getsockname()[0]
        for _, name in socket.if_nameindex():
            with suppress(OSError):
                asked = struct.pack("256s", name.encode()[:15])
                if socket.inet_ntoa(fcntl.ioctl(probe.fileno(), _GET_ADDRESS, asked)[20:24]) == own:
                    return name
    return None
