"""Reading what sivgap wrote, and a disk or a stranger may have changed since."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sivgap.errors import RunError
from sivgap.runtime.checksums import check

if TYPE_CHECKING:
    import pandas as pd

_LARGEST = 64 * 2**20
"""Bytes of a file of settings or of one state."""


def read_json(path: Path, root: Path | None = None) -> Any:
    """The value in a file, checked against the checksums of the folder `root`.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it holds no JSON.
        Damaged: If it is not what was written.
    """
    try:
        return json.loads(_text(path, root))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_yaml(path: Path, root: Path | None = None) -> Any:
    """Likewise. Aliases are refused: sivgap writes none, and few lines with them can stand for any amount of data."""
    text = _text(path, root)
    try:
        if "*" in text and any(isinstance(t, yaml.AliasToken) for t in yaml.scan(text, Loader=yaml.SafeLoader)):
            raise ValueError("it has an alias (*name), which no file of sivgap has")
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, OverflowError) as error:
        raise ValueError(" ".join(str(error).split())[:120]) from error


def read_parquet(
    path: Path, root: Path, columns: list[str] | None = None, filters: list[tuple[str, str, Any]] | None = None
) -> pd.DataFrame:
    """A table, or `columns` of the rows that `filters` leave, checked against the checksums of `root`.

    Raises:
        RunError: If it cannot be read; Damaged if it is not what was written.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        check(root, path)
        found: pd.DataFrame = parquet.read_table(path, columns=columns, filters=filters).to_pandas()
        return found
    except (pyarrow.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise RunError(f"{path}: cannot be read ({' '.join(str(error).split())[:100]})") from error


def _text(path: Path, root: Path | None) -> str:
    if root is not None:
        check(root, path)
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"larger than {_LARGEST // 2**20} MiB")
    return path.read_text(encoding="utf-8")
