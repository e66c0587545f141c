"""``python -m sivgap.grade file=IN.jsonl out=OUT.jsonl dataset=gsm8k``: grade responses by ground truth."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from sivgap.config.app import run_app
from sivgap.config.dataset import DatasetConfig
from sivgap.config.settings import Settings
from sivgap.errors import ConfigError, RunError
from sivgap.grading.equal import comparer
from sivgap.grading.grade import Grade
from sivgap.grading.lm_eval import exact_match, flexible_extract, strict_match
from sivgap.grading.short_answer import accepted_answers, squad_alone
from sivgap.runtime.display import Display
from sivgap.runtime.files import write_text
from sivgap.tasks.grade import forms_of, grade
from sivgap.tasks.source import read_records, text_field
from sivgap.tasks.task import task_of

_CHUNK = 256
"""Lines graded between two moves of the progress bar."""

_BESIDE = "graded_"
"""What stands before a name that a line of the input has already."""


class GradeConfig(Settings):
    """One file to grade."""

    file: str
    """JSON lines with ``response`` and ``reference``."""
    out: str
    """Where the graded lines go; replaced as a whole."""
    dataset: DatasetConfig
    """Whose rules apply; its prompt says the form that ``correct_strict`` demands. Nothing else of it is used."""
    explain: bool = False
    """Add ``rule``: by which rule of ``docs/grading.md`` each answer was read."""
    workers: int = Field(default=2, ge=1, le=256)
    """Processes that compare answers (``math`` alone needs them)."""


def main() -> None:
    run_app("grade", GradeConfig, grade_file)


def grade_file(config: GradeConfig) -> None:
    """Grade every line of a file; prints the path of the result.

    Raises:
        ConfigError: If the file does not exist.
        RunError: If a line is broken, or its reference cannot be read; nothing is written then.
    """
    source, out, display = Path(config.file), Path(config.out), Display()
    if not source.is_file():
        raise ConfigError(f"file={source}: no such file")
    if not out.parent.is_dir():
        raise ConfigError(f"out={out}: its folder does not exist")
    name, forms = config.dataset.name, forms_of(config.dataset)
    rows = [_checked(record, where, name) for where, record in read_records(source)]
    counts: Counter[str] = Counter()
    lines: list[str] = []
    with comparer(config.workers) as answers, display.phase("grading", len(rows), "responses") as advance:
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            grades = grade(name, [r["response"] for r in chunk], [r["reference"] for r in chunk], answers, forms)
            for row, found in zip(chunk, grades, strict=True):
                graded = _columns(name, row, found, config.explain)
                counts.update(key for key, value in graded.items() if value is True)
                counts["none"] += found.answer is None
                own = {key if key not in row else _BESIDE + key: value for key, value in graded.items()}
                lines.append(json.dumps({**row, **own}, ensure_ascii=False))
            advance(len(chunk), 0)
    write_text(out, "".join(line + "\n" for line in lines))
    for sentence in _summary(len(rows), counts, rows[:1]):
        display.say(sentence)
    print(out)


def _columns(dataset: str, row: dict[str, Any], found: Grade, explain: bool) -> dict[str, Any]:
    """What a graded line gets."""
    graded: dict[str, Any] = {
        "answer": found.answer,
        "correct": found.correct,
        "correct_strict": found.correct_strict,
    }
    if dataset == "gsm8k":
        response, reference = row["response"], row["reference"]
        graded["lm_eval_strict"] = exact_match(strict_match(response), reference)
        graded["lm_eval_flexible"] = exact_match(flexible_extract(response), reference)
    if explain:
        graded["rule"] = found.rule or None
        if dataset == "nq_open":
            graded["squad_alone"] = squad_alone(found.answer or "", accepted_answers(row["reference"]))
    return graded


def _summary(total: int, counts: Counter[str], first: Sequence[dict[str, Any]]) -> list[str]:
    share = {name: counts[name] / max(total, 1) for name in counts}
    said = [
        f"{total} responses: {share.get('correct', 0):.1%} correct, {share.get('correct_strict', 0):.1%} correct "
        f"in the form that the prompt asks for; no answer found in {counts['none']}"
    ]
    if counts["lm_eval_strict"] or counts["lm_eval_flexible"]:
        said.append(
            f"as lm-evaluation-harness grades: strict {share.get('lm_eval_strict', 0):.1%}, "
            f"flexible {share.get('lm_eval_flexible', 0):.1%}"
        )
    kept = [name for name in ("answer", "correct", "correct_strict") if first and name in first[0]]
    if kept:
        said.append(f"the input's own {', '.join(kept)} kept; the grader's begin with {_BESIDE!r}")
    return said


def _checked(record: dict[str, Any], where: str, dataset: str) -> dict[str, Any]:
    try:
        if not isinstance(record.get("response"), str):
            raise ValueError("field 'response': expected text")
        reference = text_field(record, "reference")
        wrong = task_of(dataset).unreadable(reference)
        if wrong:
            raise ValueError(f"field 'reference': {wrong}")
        return {**record, "reference": reference}
    except ValueError as error:
        raise RunError(f"{where}: {error}") from error


if __name__ == "__main__":
    main()
