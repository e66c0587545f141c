"""NQ-Open (Lee et al. 2019): factual questions, each with the list of answers that count as right.

A problem's reference is that list as a JSON array, so that nothing is lost in a text. MG takes it as the task that
self-improvement does not help: a model that does not know an answer does not recognise it either.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sivgap.core.problem import Problem
from sivgap.grading.equal import AnswerComparer
from sivgap.grading.forms import Form
from sivgap.grading.grade import Grade, grade_short_answers
from sivgap.grading.reference import unreadable_short_answer
from sivgap.tasks.source import Record, text_field
from sivgap.tasks.task import Task


def to_problem(record: Record) -> Problem:
    """A record with ``question`` and ``answer``, a list of texts; the first one makes the solution."""
    question, answers = text_field(record, "question"), record.get("answer")
    if not isinstance(answers, list) or not answers or not all(isinstance(a, str) and a.strip() for a in answers):
        raise ValueError(f"field 'answer': expected a list of non-empty texts, got {str(answers)[:60]!r}")
    wrong = unreadable_short_answer(json.dumps(answers))
    if wrong:
        raise ValueError(f"field 'answer': {wrong}")
    first = " ".join(answers[0].split())
    solution = f"The answer is {first}" + ("" if first.endswith(".") else ".")
    reference = json.dumps(answers, ensure_ascii=False)
    return Problem(str(record.get("id", "")), question.strip(), reference, solution)


class NqOpen(Task):
    """Answers are a few words."""

    form = "answer_sentence"
    hub_split = "validation"
    examples_of_any_length = True
    published = (87925, 3610, 48)

    def read(self, record: Record) -> Problem:
        return to_problem(record)

    def grade(
        self, responses: Sequence[str], references: Sequence[str], comparer: AnswerComparer, forms: Sequence[Form]
    ) -> list[Grade]:
        return grade_short_answers(responses, references, forms)

    def unreadable(self, reference: str) -> str | None:
        return unreadable_short_answer(reference)
