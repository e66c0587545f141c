"""``python -m sivgap.grade file=IN.jsonl out=OUT.jsonl dataset=gsm8k``: grade responses by ground truth."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import Field

from sivgap.config.app import run_app
from sivgap.config.dataset import DatasetConfig
from sivgap.config.settings import Settings
from sivgap.errors import ConfigError, RunError
from sivgap.grading.equal import comparer
from sivgap.grading.grade import grade
from sivgap.progress import Display
from sivgap.runs.files import write_text
from sivgap.tasks.source import read_records, text_field

_CHUNK = 256
"""Lines graded between two moves of the progress bar."""


class GradeConfig(Settings):
    """One file to grade."""

    file: str
    """JSON lines with ``response`` and ``reference``."""
    out: str
    """Where the graded lines go; replaced as a whole."""
    dataset: DatasetConfig
    """Whose rules apply; only its name is used."""
    workers: int = Field(default=2, ge=1, le=256)
    """Processes that compare answers (``math`` alone needs them)."""


def main() -> None:
    run_app("grade", GradeConfig, grade_file)


def grade_file(config: GradeConfig) -> None:
    """Grade every line of a file; prints the path of the result.

    Raises:
        ConfigError: If the file does not exist.
        RunError: If a line is broken; nothing is written then.
    """
    source, out, display = Path(config.file), Path(config.out), Display()
    if not source.is_file():
        raise ConfigError(f"file={source}: no such file")
    if not out.parent.is_dir():
        raise ConfigError(f"out={out}: its folder does not exist")
    rows = [_checked(record, where) for where, record in read_records(source)]
    counts: Counter[str] = Counter()
    lines: list[str] = []
    with comparer(config.workers) as answers, display.phase("grading", len(rows), "responses") as advance:
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            grades = grade(
                config.dataset.name, [r["response"] for r in chunk], [r["reference"] for r in chunk], answers
            )
            for row, found in zip(chunk, grades, strict=True):
                graded = {"answer": found.answer, "correct": found.correct, "correct_strict": found.correct_strict}
                counts.update(name for name in ("correct", "correct_strict") if graded[name])
                lines.append(json.dumps({**row, **graded}, ensure_ascii=False))
            advance(len(chunk), 0)
    write_text(out, "".join(line + "\n" for line in lines))
    total = max(len(rows), 1)
    display.say(
        f"{len(rows)} responses: {counts['correct'] / total:.1%} correct, "
        f"{counts['correct_strict'] / total:.1%} correct in the strict format"
    )
    print(out)


def _checked(record: dict[str, Any], where: str) -> dict[str, Any]:
    try:
        if not isinstance(record.get("response"), str):
            raise ValueError("field 'response': expected text")
        return {**record, "reference": text_field(record, "reference")}
    except ValueError as error:
        raise RunError(f"{where}: {error}") from error


if __name__ == "__main__":
    main()
