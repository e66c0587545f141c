"""Answers that were paid for, on disk: one SQLite file, one process collecting at a time."""

from __future__ import annotations

import fcntl
import hashlib
import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sivgap.errors import RunError
from sivgap.runtime.checksums import short_digest


@dataclass(frozen=True)
class Answer:
    """What an endpoint answered, whether by itself to the end, and the tokens it charged."""

    text: str
    finished: bool
    input_tokens: int
    output_tokens: int


def key_of_request(base_url: str | None, request: dict[str, Any]) -> str:
    """A hash of everything that decides the answer."""
    return hashlib.sha256(json.dumps([base_url, request], sort_keys=True).encode()).hexdigest()


class ApiCache:
    """A mapping from requests to answers that outlives the process. While it is open no other process collects, so two
    runs of a sweep do not pay for the same prompts.

    Raises:
        RunError: If it cannot be opened.
    """

    def __init__(self, folder: str, say: Callable[[str], None]) -> None:
        self._folder, self._say = Path(folder).expanduser(), say

    def __enter__(self) -> ApiCache:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self._folder / "answers.lock").open("w")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._say("another process is collecting external responses; waiting for it")
                fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._base = sqlite3.connect(self._folder / "answers.sqlite", isolation_level=None)
            self._base.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)")
        except (OSError, sqlite3.Error) as error:
            raise RunError(f"cross.api.cache={self._folder}: cannot be used ({error})") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()
        self._lock.close()

    def get(self, key: str) -> Answer | None:
        try:
            row = self._base.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            kept = json.loads(row[0])
            said = kept.pop("checksum", None)
            if said is not None and said != _checksum(key, kept):
                self._say(f"{self._folder}: an answer is damaged; it is asked for again")
                return None
            return Answer(**kept)
        except (sqlite3.Error, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise RunError(
                f"{self._folder}: the answer cache is damaged ({str(error)[:80]}); move it away, or set cross.api.cache"
            ) from error

    def put(self, key: str, answer: Answer) -> None:
        """Kept once this returns, whatever happens next."""
        kept = json.dumps({**answer.__dict__, "checksum": _checksum(key, answer.__dict__)})
        try:
            self._base.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, kept))
        except sqlite3.Error as error:
            raise RunError(f"{self._folder}: an answer cannot be kept ({error}); see to the disk") from error


def _checksum(key: str, answer: dict[str, Any]) -> str:
    """Of an answer and what it answers: a damaged index may lead to another one, which is sound in itself."""
    return short_digest([key, answer])
