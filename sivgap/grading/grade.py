"""Grading by ground truth: the answer found in a response, whether it is right, and whether in the form asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sivgap.grading.equal import AnswerComparer
from sivgap.grading.expression import find_expression
from sivgap.grading.extract import find_number
from sivgap.grading.forms import Form, in_form
from sivgap.grading.grids import last_grid
from sivgap.grading.number import Number, read_number, same_number
from sivgap.grading.reference import number_of_reference
from sivgap.grading.short_answer import accepted_answers, derive_key, find_short_answer, matches


@dataclass(frozen=True)
class Grade:
    """How one response was graded.

    Attributes:
        answer: What was read as the final answer; None: nothing.
        correct: Whether it is right, however it was written.
        correct_strict: Whether it is right and in a form that the prompt asks for.
        rule: By which rule of ``docs/grading.md`` it was read.
        key: The same for all answers that are equal; what votes go by.
    """

    answer: str | None
    correct: bool
    correct_strict: bool
    rule: str = ""
    key: str | None = None


def grade_numbers(responses: Sequence[str], references: Sequence[str], forms: Sequence[Form]) -> list[Grade]:
    """Numbers are compared exactly: 2.0 is 2 and 3/4 is 0.75, but 0.33 is not 1/3."""
    return [
        _number(response, number_of_reference(ref), forms) for response, ref in zip(responses, references, strict=True)
    ]


def _number(response: str, gold: Number | None, forms: Sequence[Form]) -> Grade:
    found = find_number(response)
    if found is None:
        return Grade(None, False, False)
    number, how = found
    right = gold is not None and same_number(gold, number)
    said = [read_number(text) for form in forms if (text := in_form(response, form)) is not None] if right else []
    strictly = any(value is not None and gold is not None and same_number(gold, value) for value in said)
    strictly = strictly or (right and how.rule == "box" and "boxed" in forms)
    return Grade(how.text, right, strictly, how.rule, f"=n{number.value}")


def grade_expressions(
    responses: Sequence[str], references: Sequence[str], comparer: AnswerComparer, forms: Sequence[Form]
) -> list[Grade]:
    """Mathematical answers are equal if they mean the same (``docs/grading.md``)."""
    found = [find_expression(response) for response in responses]
    formal = [[text for form in forms if (text := in_form(response, form))] for response in responses]
    asked = [(ref, how.text) for ref, how in zip(references, found, strict=True) if how is not None]
    right = dict(zip(asked, comparer.equal(asked), strict=True))
    keys = comparer.keys([how.text if how else None for how in found])
    grades = []
    for reference, how, said, key in zip(references, found, formal, keys, strict=True):
        if how is None:
            grades.append(Grade(None, False, False))
            continue
        correct = right[reference, how.text]
        strictly = correct and bool(said) and (how.text in said or any(comparer.equal([(reference, t) for t in said])))
        grades.append(
            Grade(how.text, correct, strictly or (correct and how.rule == "box" and "boxed" in forms), how.rule, key)
        )
    return grades


def grade_short_answers(responses: Sequence[str], references: Sequence[str], forms: Sequence[Form]) -> list[Grade]:
    """Equality in SQuAD's normal form with any of the answers that count."""
    pairs = zip(responses, references, strict=True)
    return [_short_answer(response, accepted_answers(reference), forms) for response, reference in pairs]


def _short_answer(response: str, accepted: list[str], forms: Sequence[Form]) -> Grade:
    read, rule = find_short_answer(response)
    right = [answer for answer in read if matches(answer, accepted)]
    said = [text for form in forms if (text := in_form(response, form)) is not None]
    strictly = bool(right) and any(matches(text, accepted) for text in said)
    answer = next(iter(right or read), None)
    return Grade(answer, bool(right), strictly, rule if answer else "", None if answer is None else derive_key(answer))


def grade_grids(responses: Sequence[str], references: Sequence[str], forms: Sequence[Form]) -> list[Grade]:
    """A complete grid that is the solution, the only valid completion of its puzzle."""
    pairs = zip(responses, references, strict=True)
    return [_grid(response, last_grid(reference), forms) for response, reference in pairs]


def _grid(response: str, solution: str | None, forms: Sequence[Form]) -> Grade:
    grid = last_grid(response)
    right = grid is not None and grid == solution
    strictly = right and any(in_form(response, form) == solution for form in forms)
    return Grade(grid, right, strictly, "last grid" if grid else "", grid and f"={grid}")
