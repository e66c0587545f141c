"""GSM8K: grade-school word problems; ``answer`` is a worked solution whose last line is ``#### NUMBER``."""

from __future__ import annotations

import re

from sivgap.core.problem import Problem
from sivgap.grading.reference import number_of_reference
from sivgap.tasks.source import Record, text_field
from sivgap.tasks.task import NumberTask

_CALCULATION = re.compile(r"<<[^<>]*>>")


def to_problem(record: Record) -> Problem:
    """A record with ``question`` and ``answer``; calculator annotations ``<<...>>`` are taken out of the solution."""
    question, answer = text_field(record, "question"), text_field(record, "answer")
    solution, mark, reference = answer.rpartition("####")
    if not mark or not reference.strip():
        raise ValueError("field 'answer': expected a solution that ends in '#### NUMBER'")
    value = reference.strip().replace(",", "")
    if number_of_reference(value) is None:
        raise ValueError(f"field 'answer': expected a number behind '####', such as '#### 18', got {value[:60]!r}")
    text = _CALCULATION.sub("", solution).strip()
    return Problem(str(record.get("id", "")), question.strip(), value, f"{text}\n#### {value}")


class Gsm8k(NumberTask):
    """Read from files or the hub."""

    form = "hashes"
    published = (7473, 1319, 235)

    def read(self, record: Record) -> Problem:
        return to_problem(record)
