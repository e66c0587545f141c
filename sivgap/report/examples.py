"""Responses worth reading: where the verifier was right, where it was fooled, what it missed, what it did not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from sivgap.errors import RunError
from sivgap.runtime.files import write_json
from sivgap.runtime.read import read_json

_EACH = 4
"""Responses of each kind."""

_LONGEST = 8_000
"""Characters of a response that are shown: some 2,000 tokens."""

_RIGHT_HIGH = "right, and scored highest"
_WRONG_HIGH = "wrong, and scored highest: the verifier is fooled"
_RIGHT_LOW = "right, and scored lowest: the verifier misses them"
_WRONG_LOW = "wrong, and scored lowest"
_UNPARSED = "the verdict could not be read"

_FILE = "examples.json"

Example = dict[str, Any]
Examples = list[tuple[str, list[Example]]]


def choose_examples(samples: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """For each kind its title and up to four of the rows, of different prompts.

    Args:
        samples: A row a response: problem_id, sample, correct, score and, where verdicts were read, unparsed.
    """
    scored = samples[samples["score"].notna()]  # external responses have none
    unparsed = scored.get("unparsed", pd.Series(0, scored.index)).astype(float) >= 1
    read, unread = scored[~unparsed], scored[unparsed]
    found: list[tuple[str, pd.DataFrame]] = []
    for title, correct, ascending in (
        (_RIGHT_HIGH, True, False),
        (_WRONG_HIGH, False, False),
        (_RIGHT_LOW, True, True),
        (_WRONG_LOW, False, True),
    ):
        rows = _first(read[read["correct"].astype(bool) == correct], ascending)
        read = read.drop(index=rows.index)  # where scores are equal the lowest are the highest, too
        found.append((title, rows))
    return [*found, (_UNPARSED, _first(unread, True))] if len(unread) else found


def examples(samples: pd.DataFrame) -> Examples:
    """As `choose_examples`, of rows that also hold question, text and reference; each as the page shows it."""
    return [(title, [example(row) for _, row in rows.iterrows()]) for title, rows in choose_examples(samples)]


def write_examples(folder: Path, found: Examples) -> None:
    """Keep `found` in the directory of an evaluation, whose responses lie in a store elsewhere."""
    write_json(folder / _FILE, [{"kind": title, "responses": rows} for title, rows in found], folder)


def read_examples(folder: Path) -> Examples:
    """What `write_examples` kept; nothing of an evaluation that is older than that.

    Raises:
        RunError: If the file is damaged.
    """
    if not (folder / _FILE).exists():
        return []
    try:
        return [(str(kind["kind"]), [_checked(row) for row in kind["responses"]])
                for kind in read_json(folder / _FILE, folder)]  # fmt: skip
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"{folder / _FILE}: cannot be read ({str(error)[:80]}); delete it to report without") from error


def _first(rows: pd.DataFrame, ascending: bool) -> pd.DataFrame:
    rows = rows.sort_values(["score", "problem_id", "sample"], ascending=[ascending, True, True])
    return rows.drop_duplicates("problem_id").head(_EACH)


def example(row: pd.Series[Any]) -> Example:
    """A row of a run's samples as a page shows it."""
    return {
        "question": str(row["question"]),
        "text": _short(str(row["text"])),
        "reference": str(row["reference"]),
        "answer": row["answer"] if isinstance(row["answer"], str) else None,
        "score": None if float(row.get("unparsed", 0.0)) >= 1 else float(row["score"]),
        "nll": float(row["nll"]),
        "tokens": int(row["length"]) if "length" in row else None,
        "finished": bool(row.get("finished", True)),
    }


def _checked(row: dict[str, Any]) -> Example:
    """An example of a file, each value of its kind."""
    return {
        **{name: str(row[name]) for name in ("question", "text", "reference")},
        "answer": None if row["answer"] is None else str(row["answer"]),
        **{name: None if row[name] is None else float(row[name]) for name in ("score", "nll")},
        "tokens": None if row["tokens"] is None else int(row["tokens"]),
        "finished": bool(row["finished"]),
    }


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " ... (shortened)"
