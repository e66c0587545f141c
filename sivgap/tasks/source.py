"""Reading records from strangers' files: JSON lines, Parquet, or the hub. A bad one is an error with file and line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sivgap.core.problem import Problem
from sivgap.errors import RunError

LONGEST_LINE = 4 * 2**20
"""Bytes of a JSON line. The longest real problem has some 10 kB; a longer line is a wrong file, not a problem."""

_ROWS_AT_ONCE = 64
_LARGEST_ROWS = 256 * 2**20
"""Rows of a Parquet file read at once, and their bytes at most: a small file can unpack to any size."""

LONGEST_ID = 1_000
"""Characters of a problem's id."""

LONGEST_TEXT = 100_000
"""Characters of a field, for the same reason (Parquet has no lines)."""

Record = dict[str, Any]
ToProblem = Callable[[Record], Problem]
"""Turns one record into a problem (id empty where the record has none); raises ValueError with what was expected."""


def read_problems(path: Path, to_problem: ToProblem) -> list[Problem]:
    """All problems of a ``.jsonl`` or ``.parquet`` file.

    Raises:
        RunError: On the first record that cannot be used, naming file and line (or row), what was expected, and why.
    """
    problems = [_convert(record, where, to_problem) for where, record in read_records(path)]
    if not problems:
        raise RunError(f"{path}: holds no problems; expected one JSON object a line")
    return identified(problems, str(path))


def read_records(path: Path) -> Iterator[tuple[str, Record]]:
    """Each record of a ``.jsonl`` or ``.parquet`` file, with the place it stands at.

    Raises:
        RunError: On the first line that is not a JSON object in UTF-8, or is longer than `LONGEST_LINE`.
    """
    if not path.is_file():
        raise RunError(f"{path}: no such file; expected a .jsonl or .parquet file")
    return _parquet(path) if path.suffix == ".parquet" else _json_lines(path)


def read_hub(hub_id: str, config: str | None, split: str, revision: str | None, to_problem: ToProblem) -> list[Problem]:
    """All problems of one split on the hub, by the `datasets` library.

    Raises:
        RunError: If it cannot be reached and is not in the local cache.
    """
    import datasets

    try:
        names = datasets.get_dataset_config_names(hub_id, revision=revision) if config == "all" else [config]
        rows = [
            (f"{name}/{i}", row)
            for name in names
            for i, row in enumerate(datasets.load_dataset(hub_id, name, split=split, revision=revision))
        ]
    except Exception as error:  # the library raises many types, all meaning the same to a user
        reason = " ".join(str(error).split())[:200]
        raise RunError(
            f"dataset {hub_id} ({split}) cannot be loaded: {reason}. Without a network, download it elsewhere "
            "and give the files: dataset.path=TRAIN.jsonl dataset.test_path=TEST.jsonl"
        ) from error
    problems = [_convert(dict(row), f"{hub_id} {split}/{where}", to_problem) for where, row in rows]
    return identified(problems, hub_id)


def _convert(record: Record, where: str, to_problem: ToProblem) -> Problem:
    try:
        problem = to_problem(record)
    except ValueError as error:
        raise RunError(f"{where}: {error}") from error
    if len(problem.id) > LONGEST_ID:
        raise RunError(f"{where}: an id longer than {LONGEST_ID:,} characters; is this the right file?")
    if max(len(problem.question), len(problem.reference), len(problem.solution or "")) > LONGEST_TEXT:
        raise RunError(f"{where}: a field longer than {LONGEST_TEXT:,} characters; is this the right file?")
    return problem


def text_field(record: Record, *names: str) -> str:
    """The first of `names` that the record has, as non-empty text; ValueError says what was expected."""
    for name in names:
        if name in record:
            if isinstance(record[name], str) and record[name].strip():
                return str(record[name])
            raise ValueError(f"field {name!r}: expected non-empty text, got {str(record[name])[:60]!r}")
    has = [name[:40] for name in sorted(record)][:8]
    raise ValueError(f"missing field {' or '.join(map(repr, names))}; it has {has}")


def _json_lines(path: Path) -> Iterator[tuple[str, Record]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            where = f"{path}, line {number}"
            if len(line) > LONGEST_LINE:
                raise RunError(f"{where}: longer than {LONGEST_LINE // 2**20} MiB; expected one JSON object a line")
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"), parse_constant=_no_number)
            except UnicodeDecodeError as error:
                raise RunError(f"{where}: not UTF-8 (byte {error.start}); convert the file to UTF-8") from error
            except (ValueError, RecursionError) as error:  # an integer of 5000 digits is no JSONDecodeError
                raise RunError(f"{where}: not valid JSON ({str(error)[:80]}); expected one object a line") from error
            if not isinstance(record, dict):
                raise RunError(f"{where}: expected a JSON object, got {type(record).__name__}")
            if b"\\u" in line and not _is_unicode(record):
                raise RunError(f"{where}: half a character (\\ud800 to \\udfff alone); expected Unicode text")
            yield where, record


def _no_number(name: str) -> None:
    """NaN and Infinity, which are not JSON but are written by many: what does not exist is null."""


def _is_unicode(record: Record) -> bool:
    """Whether the texts of a record can be written to a file, or given to a tokenizer."""
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _parquet(path: Path) -> Iterator[tuple[str, Record]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(_ROWS_AT_ONCE):
                if batch.nbytes > _LARGEST_ROWS:
                    raise RunError(f"{path}, row {number}: rows of over {_LARGEST_ROWS // 2**20} MiB; the right file?")
                for record in batch.to_pylist():
                    yield f"{path}, row {number}", record
                    number += 1
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        reason = " ".join(str(error).split())[:100]
        raise RunError(f"{path}: not a readable Parquet file ({reason})") from error


def identified(problems: Sequence[Problem], where: str) -> list[Problem]:
    """Give problems without an id one made of their question: the same wherever the file lies, however sorted."""
    seen: dict[str, int] = {}
    named = []
    for problem in problems:
        key = problem.id or hashlib.sha256(problem.question.encode()).hexdigest()[:12]
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > 1 and problem.id:
            raise RunError(f"{where}: the id {key[:60]!r} occurs twice; ids must be unique (or absent)")
        named.append(replace(problem, id=key if seen[key] == 1 else f"{key}-{seen[key]}"))
    return named
