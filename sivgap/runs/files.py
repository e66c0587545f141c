"""Writing files so that a reader, or a run that was killed, sees all of one or nothing of it."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file aside, sync it, and rename it to `path`."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    write(aside)
    _sync(aside)
    os.replace(aside, path)
    _sync(path.parent)


def write_text(path: Path, text: str) -> None:
    def fill(aside: Path) -> None:
        aside.write_text(text, encoding="utf-8")

    write_atomically(path, fill)


def write_json(path: Path, value: Any) -> None:
    """Write `value`; a number that does not exist becomes null."""
    write_text(path, json.dumps(finite(value), indent=2, allow_nan=False) + "\n")


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
    """Let `fill` fill a folder aside, sync every file, and rename it to `path`, replacing what was there."""
    aside = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    fill(aside)
    for file in aside.iterdir():
        _sync(file)
    _sync(aside)
    old = path.with_name(f".{path.name}.old.tmp")
    if path.exists():  # moved away whole: a kill while it is being deleted must not leave half of it under its name
        shutil.rmtree(old, ignore_errors=True)
        os.replace(path, old)
    os.replace(aside, path)
    _sync(path.parent)
    shutil.rmtree(old, ignore_errors=True)


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
