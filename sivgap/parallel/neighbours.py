"""The processes that a launcher has started on one machine: the first one works, the others wait for its end.

One of them is enough, since it starts the ranks itself (`launch`); a launcher that wants one process for each GPU gets
them, and each ends with the first one's exit status.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sivgap.errors import RunError
from sivgap.runtime.signals import SIGNALS

_LOOK = 0.1
"""Seconds between two attempts to find the first process."""

_ALL_HERE = 30.0
"""Seconds that the first one waits for the others to come: they have only begun when it is done quickly."""


@contextmanager
def waited_for(others: int) -> Iterator[Callable[[int], None]]:
    """While `others` processes wait; what is yielded tells them the exit status that they are to end with."""
    if not others:
        yield lambda status: None
        return
    path, waiting = _meeting(), []
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(others)

    def accept() -> None:
        with suppress(OSError):
            while True:
                waiting.append(server.accept()[0])

    def tell(status: int) -> None:
        patience = time.monotonic() + (_ALL_HERE if status == 0 else 1)  # a launcher ends the others of one that failed
        while len(waiting) < others and time.monotonic() < patience:
            time.sleep(_LOOK)
        for process in waiting:
            with suppress(OSError):
                process.sendall(bytes([status]))

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield tell
    finally:
        path.unlink(missing_ok=True)


def wait_for_first() -> int:
    """The first process's exit status, once it has ended; 1 if it was killed, or is no more there."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # the first one is asked, too, and all end when it has
    parent = os.getppid()
    while os.getppid() == parent:
        with socket.socket(socket.AF_UNIX) as first:
            try:
                first.connect(str(_meeting()))
            except OSError:
                time.sleep(_LOOK)
                continue
            with suppress(OSError):
                told = first.recv(1)
                return told[0] if told else 1
    return 1


def _meeting() -> Path:
    """Where they meet, in a folder that nobody else may write to: processes that one launcher has started have one
    parent."""
    folder = Path(tempfile.gettempdir()) / f"sivgap-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise RunError(f"{folder}: expected a folder that is this user's alone; remove it, or set TMPDIR")
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return folder / f"{os.getppid()}-{attempt}.sock"
