"""References: whether ground truth can be read by its own grader, and what it says.

A reference nobody can read would make every response wrong without a word, so that it is refused where it is loaded.
"""

from __future__ import annotations

from functools import lru_cache

from sivgap.grading.extract import find_number
from sivgap.grading.number import Number, read_number


@lru_cache(4096)
def number_of_reference(reference: str) -> Number | None:
    """The number of a reference: ``18``, ``18 dollars``, ``4%``, or a whole solution that ends in ``#### 18``."""
    bare = read_number(reference)
    if bare is not None:
        return bare
    found = find_number(reference)
    return None if found is None or found[1].rule == "last sentence" else found[0]


def unreadable_number(reference: str) -> str | None:
    """What is wrong with a reference, and what to write; None where its grader reads it, equal to itself."""
    if number_of_reference(reference) is None:
        return f"expected a number, such as 18 or 3/4, or a solution that ends in '#### 18', got {reference[-60:]!r}"
    return None


def unreadable_short_answer(reference: str) -> str | None:
    """As `unreadable_number`, of an answer or a JSON list of those that count."""
    from sivgap.grading.short_answer import accepted_answers, matches

    answers = accepted_answers(reference)
    if not answers or not all(answer.strip() and matches(answer, [answer]) for answer in answers):
        return f'expected an answer, or a list of answers such as ["Paris", "Paris, France"], got {reference[:60]!r}'
    return None


def unreadable_grid(reference: str) -> str | None:
    """As `unreadable_number`, of a sudoku's solution."""
    from sivgap.grading.grids import last_grid

    grid = last_grid(reference)
    return f"expected a complete grid, 16 digits 1-4, got {reference[:60]!r}" if grid is None or "0" in grid else None


def unreadable_expression(reference: str) -> str | None:
    """As `unreadable_number`, of a mathematical answer."""
    from sivgap.grading.expression import answer_of
    from sivgap.grading.kinds import read
    from sivgap.grading.latex import LONGEST_ANSWER
    from sivgap.grading.limits import acceptable

    if len(reference) > LONGEST_ANSWER or not acceptable(reference):
        limits = f"at most {LONGEST_ANSWER} characters without towers of powers"
        return f"expected an answer of {limits}, got {reference[:60]!r}"
    try:
        found = read(answer_of(reference))
    except RecursionError:
        found = None
    if found is None or (found.kind == "expression" and reference.count("{") != reference.count("}")):
        return rf"expected an answer such as \frac{{1}}{{2}} or (1,2), its braces closed, got {reference[:60]!r}"
    return None
