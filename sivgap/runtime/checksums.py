"""``checksums.txt``: what the files of a run, an evaluation or a checkpoint contain, in the form of ``sha256sum``.

A line is added before its file is put in place, and none is ever taken away. So a file is sound if it has the digest of
any of its lines: a kill between the two leaves the file of an earlier line. A file without a line (written before there
were checksums, or by hand) is taken as it is; a file that one has changed on purpose is accepted again once
``checksums.txt`` is deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from sivgap.errors import RunError

SUMS = "checksums.txt"


class Damaged(RunError):  # noqa: N818 - named as RunBusy is
    """A file does not contain what was written into it."""


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def short_digest(value: Any) -> str:
    """Of anything that JSON can hold, for a record that keeps its own checksum."""
    return digest(json.dumps(value, sort_keys=True).encode())[:16]


def digest_of(path: Path) -> str:
    """Of a whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def note(root: Path, path: Path, found: str) -> None:
    """Add to the checksums of `root` that `path`, in it, may contain what has the digest `found`; synced."""
    with (root / SUMS).open("a+b") as file:
        if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
            file.write(b"\n")  # a line that was cut short must not swallow this one
        file.write(f"{found}  {path.relative_to(root).as_posix()}\n".encode())
        file.flush()
        os.fsync(file.fileno())


def noted(root: Path, path: Path) -> list[str]:
    """Digests that `path` may have, in the order in which they were noted; none if nothing was."""
    try:
        lines = (root / SUMS).read_bytes().decode("utf-8", "replace").split("\n")
    except FileNotFoundError:
        return []
    name = path.relative_to(root).as_posix()
    return [line[:64] for line in lines if line[64:66] == "  " and line[66:] == name]


def check(root: Path, path: Path) -> None:
    """Raises Damaged if `path`, a file in `root`, contains something else than was written into it."""
    known = noted(root, path)
    if known and digest_of(path) not in known:
        raise damaged(path)


def damaged(path: Path) -> Damaged:
    return Damaged(
        f"{path}: damaged, it does not have the checksum of what was written (a failing disk? a change by hand? where "
        f"it is meant, delete {SUMS} beside it)"
    )
