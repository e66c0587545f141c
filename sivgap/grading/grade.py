"""Grading by ground truth: the answer found in a response, whether it is right, and whether in the strict format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sivgap.grading.equal import AnswerComparer
from sivgap.grading.extract import LONGEST_RESPONSE, final_number, last_boxed, strict_arithmetic, strict_gsm8k
from sivgap.grading.grids import last_grid, strict_grid
from sivgap.grading.number import to_fraction
from sivgap.grading.short_answer import accepted_answers, matches, readings, strict_answer
from sivgap.tasks.problem import Problem


@dataclass(frozen=True)
class Grade:
    """`answer` is what was read as the final answer (None: nothing), `correct` grades it however it was written,
    `correct_strict` demands the format that the task asks for as well."""

    answer: str | None
    correct: bool
    correct_strict: bool


def grade(dataset: str, responses: Sequence[str], references: Sequence[str], comparer: AnswerComparer) -> list[Grade]:
    """Grade responses against references by the rules of a dataset, named as in `DatasetConfig`."""
    pairs = list(zip(responses, references, strict=True))
    if dataset == "arithmetic":
        return [_number(response, reference, strict_arithmetic(response)) for response, reference in pairs]
    if dataset == "gsm8k":
        return [_number(response, reference, strict_gsm8k(response)) for response, reference in pairs]
    if dataset == "nq_open":
        return [_short_answer(response, accepted_answers(reference)) for response, reference in pairs]
    if dataset == "sudoku":
        return [_grid(response, last_grid(reference)) for response, reference in pairs]
    boxed = [last_boxed(response) for response, _ in pairs]
    wanted = [
        (ref, box if box is not None else text[-LONGEST_RESPONSE:])
        for (text, ref), box in zip(pairs, boxed, strict=True)
    ]
    correct = comparer.equal(wanted)
    return [
        Grade(box if box is not None else final_number(text), ok, ok and box is not None)
        for (text, _), box, ok in zip(pairs, boxed, correct, strict=True)
    ]


def grade_samples(
    dataset: str, problems: Sequence[Problem], texts: Sequence[str], comparer: AnswerComparer
) -> list[Grade]:
    """Grade N responses to each of P problems, problem-major."""
    samples = len(texts) // len(problems)
    return grade(dataset, texts, [problem.reference for problem in problems for _ in range(samples)], comparer)


def _number(response: str, reference: str, strict: str | None) -> Grade:
    """Numbers are compared exactly: 2.0 is 2 and 3/4 is 0.75, but 0.33 is not 1/3."""
    gold = to_fraction(reference)
    flexible = strict if strict is not None and to_fraction(strict) is not None else final_number(response)
    right = flexible is not None and gold is not None and to_fraction(flexible) == gold
    strictly = strict is not None and gold is not None and to_fraction(strict) == gold
    return Grade(flexible, right, strictly)


def _short_answer(response: str, accepted: list[str]) -> Grade:
    """Equality in SQuAD's normal form with any of the answers that count."""
    strict, read = strict_answer(response), readings(response)
    strictly = strict is not None and matches(strict, accepted)
    right = [answer for answer in read if matches(answer, accepted)]
    if strictly:
        return Grade(strict, True, True)
    return Grade(next(iter(right or read), None), bool(right), False)


def _grid(response: str, solution: str | None) -> Grade:
    """A complete grid that is the solution, the only valid completion of its puzzle."""
    grid, strict = last_grid(response), strict_grid(response)
    return Grade(grid, grid is not None and grid == solution, strict is not None and strict == solution)
