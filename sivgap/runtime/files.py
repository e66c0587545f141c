"""Writing files so that a reader, or a run that was killed, sees all of one or nothing of it."""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sivgap.runtime.checksums import digest_of, note


def write_atomically(path: Path, write: Callable[[Path], None], root: Path | None = None) -> None:
    """Let `write` fill a file aside, sync it, and rename it to `path`; its checksum goes to those of `root`."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(aside)
        _sync(aside)
        if root is not None:
            note(root, path, digest_of(aside))
        os.replace(aside, path)
    except BaseException:
        with suppress(OSError):  # the disk may be full, or gone; what went wrong first is what matters
            aside.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def write_text(path: Path, text: str, root: Path | None = None) -> None:
    def fill(aside: Path) -> None:
        aside.write_text(text, encoding="utf-8")

    write_atomically(path, fill, root)


def write_json(path: Path, value: Any, root: Path | None = None) -> None:
    """Write `value`; a number that does not exist becomes null."""
    write_text(path, json.dumps(finite(value), indent=2, allow_nan=False) + "\n", root)


def drop_unfinished(folder: Path) -> None:
    """Delete what writers that were killed have left aside in `folder`; call it while nobody else can write there."""
    for left in folder.glob(".*.tmp"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


@contextmanager
def tidied(folder: Path) -> Iterator[None]:
    """What was left aside in `folder` is deleted, unless another process is within such a block, too."""
    with (folder / ".lock").open("a") as lock:
        with suppress(OSError):  # another one is, or the file system knows no locks
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            drop_unfinished(folder)
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def finite(value: Any) -> Any:
    """`value` with None for every NaN and infinity in it."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` fill a folder aside, note checksums, sync all, and rename it to `path`, replacing what was there."""
    aside = _filled_aside(path, fill)
    old = path.with_name(f".{path.name}.old.tmp")
    if path.exists():  # moved away whole: a kill while it is being deleted must not leave half of it under its name
        shutil.rmtree(old, ignore_errors=True)
        os.replace(path, old)
    os.replace(aside, path)
    _sync(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def write_new_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Likewise, where nothing is, or an empty folder.

    Raises:
        FileExistsError: If something has come there; it stays.
    """
    aside = _filled_aside(path, fill)
    try:
        aside.rename(path)  # over a folder only if that is empty
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        if os.path.lexists(path):
            raise FileExistsError(str(path)) from error
        raise
    _sync(path.parent)


def _filled_aside(path: Path, fill: Callable[[Path], None]) -> Path:
    aside = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        fill(aside)
        for file in sorted(file for file in aside.rglob("*") if file.is_file()):
            _sync(file)
            note(aside, file, digest_of(file))
        _sync(aside)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return aside


def append_line(path: Path, text: str) -> None:
    """Append one line and sync it."""
    with path.open("a", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
