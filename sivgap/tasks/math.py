"""MATH (Hendrycks et al. 2021): competition problems; the answer is the last ``\\boxed{...}`` of ``solution``."""

from __future__ import annotations

from sivgap.grading.extract import last_boxed
from sivgap.grading.reference import unreadable
from sivgap.tasks.problem import Problem
from sivgap.tasks.source import Record, text_field


def to_problem(record: Record) -> Problem:
    """A record with ``problem`` and ``solution``; ``answer`` (MATH-500) is preferred as reference."""
    question, solution = text_field(record, "problem", "question"), text_field(record, "solution")
    reference = text_field(record, "answer") if "answer" in record else last_boxed(solution)
    if reference is None:
        raise ValueError(r"field 'solution': expected an answer in \boxed{...}")
    wrong = unreadable("math", reference)
    if wrong:
        raise ValueError(f"field {'answer' if 'answer' in record else 'solution'!r}: {wrong}")
    identity = record.get("id", record.get("unique_id", ""))
    return Problem(str(identity), question.strip(), reference, solution.strip())
