"""NQ-Open (Lee et al. 2019): factual questions, each with the list of answers that count as right.

A problem's reference is that list as a JSON array, so that nothing is lost in a text. MG takes it as the task that
self-improvement does not help: a model that does not know an answer does not recognise it either.
"""

from __future__ import annotations

import json

from sivgap.grading.reference import unreadable
from sivgap.tasks.problem import Problem
from sivgap.tasks.source import Record, text_field


def to_problem(record: Record) -> Problem:
    """A record with ``question`` and ``answer``, a list of texts; the first one makes the solution."""
    question, answers = text_field(record, "question"), record.get("answer")
    if not isinstance(answers, list) or not answers or not all(isinstance(a, str) and a.strip() for a in answers):
        raise ValueError(f"field 'answer': expected a list of non-empty texts, got {str(answers)[:60]!r}")
    wrong = unreadable("nq_open", json.dumps(answers))
    if wrong:
        raise ValueError(f"field 'answer': {wrong}")
    first = " ".join(answers[0].split())
    solution = f"The answer is {first}" + ("" if first.endswith(".") else ".")
    reference = json.dumps(answers, ensure_ascii=False)
    return Problem(str(record.get("id", "")), question.strip(), reference, solution)
