"""MATH (Hendrycks et al. 2021): competition problems; the answer is the last ``\\boxed{...}`` of ``solution``."""

from __future__ import annotations

from sivgap.core.problem import Problem
from sivgap.grading.extract import last_boxed
from sivgap.grading.reference import unreadable_expression
from sivgap.tasks.source import Record, text_field
from sivgap.tasks.task import Task


def to_problem(record: Record) -> Problem:
    """A record with ``problem`` and ``solution``; ``answer`` (MATH-500) is preferred as reference."""
    question, solution = text_field(record, "problem", "question"), text_field(record, "solution")
    reference = text_field(record, "answer") if "answer" in record else last_boxed(solution)
    if reference is None:
        raise ValueError(r"field 'solution': expected an answer in \boxed{...}")
    wrong = unreadable_expression(reference)
    if wrong:
        raise ValueError(f"field {'answer' if 'answer' in record else 'solution'!r}: {wrong}")
    identity = record.get("id", record.get("unique_id", ""))
    return Problem(str(identity), question.strip(), reference, solution.strip())


class Math(Task):
    """Answers are any mathematical expressions."""

    form = "boxed"
    published = (7500, 5000, 205)

    def read(self, record: Record) -> Problem:
        return to_problem(record)

    def unreadable(self, reference: str) -> str | None:
        return unreadable_expression(reference)
