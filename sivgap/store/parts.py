"""A folder of Parquet files that are only ever added to: nothing is lost by a kill, and nothing is written twice.

Every row belongs to a prompt (column ``prompt``). Only which file holds rows of which prompt is kept in memory, so a
folder of any size is read a few prompts at a time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.parquet as parquet

from sivgap.errors import RunError
from sivgap.runtime.checksums import digest, digest_of
from sivgap.runtime.files import write_atomically, write_json

_DIGITS = 16
"""Of the checksum in a file's name: a folder that several processes add to has no list of them."""

_UNREADABLE = (pyarrow.ArrowException, OSError, KeyError, ValueError, TypeError)
"""What is raised of a damaged file: a TypeError where it says that its columns are of a kind that does not exist."""


class Parts:
    """The files ``part-....parquet`` of `folder`, which ``about.json`` describes.

    Two processes may add to the same folder at once: each writes files of its own, and equal rows are read once.
    """

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / "about.json").exists():
                write_json(folder / "about.json", about)
        except OSError as error:
            raise RunError(f"{folder}: cannot be written ({error.strerror}); set store=FOLDER") from error
        self._holding: dict[str, list[Path]] = {}
        self._checked: set[Path] = set()
        for part in sorted(folder.glob("part-*.parquet")):
            self._note(part, _prompts(part))

    def read(self, prompts: Iterable[str], key: list[str]) -> pd.DataFrame:
        """All rows of `prompts`, each `key` once; an empty frame without columns where there are none."""
        wanted = list(prompts)
        files = sorted({part for prompt in wanted for part in self._holding.get(prompt, [])})
        if not files:
            return pd.DataFrame()
        for part in files:
            self._check(part)
        frames = [_read(part, filters=[("prompt", "in", wanted)]) for part in files]
        return pd.concat(frames, ignore_index=True).drop_duplicates(["prompt", *key], ignore_index=True)

    def add(self, rows: pd.DataFrame) -> None:
        """Write `rows` as a new file, all or nothing."""
        made = pyarrow.BufferOutputStream()
        rows.to_parquet(made, index=False)
        data = made.getvalue().to_pybytes()
        part = self.folder / f"part-{time.time_ns():020d}-{os.getpid()}-{digest(data)[:_DIGITS]}.parquet"
        write_atomically(part, lambda aside: _fill(aside, data))
        self._checked.add(part)
        self._note(part, rows["prompt"].unique())

    def _check(self, part: Path) -> None:
        """Read a file once, to see whether it is what was written; those of older versions do not say."""
        said = part.stem.rpartition("-")[2]
        if part not in self._checked and len(said) == _DIGITS and digest_of(part)[:_DIGITS] != said:
            raise _damaged(part, "it is not what was written")
        self._checked.add(part)

    def _note(self, part: Path, prompts: Iterable[str]) -> None:
        for prompt in prompts:
            self._holding.setdefault(prompt, []).append(part)


def _fill(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _read(part: Path, **options: Any) -> pd.DataFrame:
    try:
        return parquet.read_table(part, **options).to_pandas()  # type: ignore[no-any-return]
    except _UNREADABLE as error:
        raise _damaged(part, " ".join(str(error).split())[:100]) from error


def _prompts(part: Path) -> list[str]:
    """The prompts in a file, whose checksum is looked at only once its rows are wanted."""
    column = _read(part, columns=["prompt"])["prompt"]
    try:
        return list(column.unique())  # here texts are decoded
    except _UNREADABLE as error:
        raise _damaged(part, " ".join(str(error).split())[:100]) from error


def _damaged(part: Path, reason: str) -> RunError:
    return RunError(f"{part}: damaged ({reason}); delete this file, and what was in it is made again")
