"""Values of readings at the points of a formula: of numbers, expressions, and the sides of equations and relations."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

import mpmath

from sivgap.grading.answer import Answer
from sivgap.grading.formula import same_value, values
from sivgap.grading.formula_reader import DIGITS, UnreadableError, Value
from sivgap.grading.number import Number

FEWEST_PLACES = 6
"""Decimals that a rounded value must have to stand for an exact one: 0.333333 is 1/3, 0.333 is not."""
_REMEMBERED = 2048
Values = tuple[list[Value], list[bool]]


@lru_cache(_REMEMBERED)
def values_of(text: str) -> Values | None:
    """Values of a formula at the points, None of what is none."""
    try:
        return values(text)
    except (UnreadableError, RecursionError):
        return None


def tight(text: str) -> str:
    """A text without spaces."""
    return re.sub(r"\s+", "", text)


def of(answer: Answer) -> Values | None:
    """Values at the points of a number or an expression."""
    if answer.number:
        return [of_fraction(answer.number.value)] * 3, [False] * 3
    return values_of(answer.text)


def of_fraction(value: Fraction) -> Value:
    with mpmath.workdps(max(DIGITS, len(str(value.numerator)) + 5)):
        return mpmath.mpf(value.numerator) / value.denominator


def rounded(one: Number, other: Number) -> bool:
    for decimal, exact in ((one, other), (other, one)):
        places = decimal.places or 0
        if (
            places >= FEWEST_PLACES
            and (exact.places is None or exact.places > places)
            and decimal.percent == exact.percent
        ):
            return abs(decimal.value - exact.value) <= max(Fraction(1, 2 * 10**places), _of_doubles(decimal))
    return False


def rounds_to(exact: Value, decimal: Number) -> bool:
    if mpmath.im(exact) != 0 or not mpmath.isfinite(exact):
        return False
    with mpmath.workdps(DIGITS):
        rounding = max(Fraction(1, 2 * 10 ** (decimal.places or 0)), _of_doubles(decimal))
        return bool(abs(mpmath.re(exact) - of_fraction(decimal.value)) <= of_fraction(rounding))


def _of_doubles(decimal: Number) -> Fraction:
    """What programs are off by that print all digits of a double; nothing where fewer are written."""
    return abs(decimal.value) / 2**52 if (decimal.places or 0) >= 14 else Fraction(0)


def difference(answer: Answer) -> Values | None:
    """Left side less right side, at the points."""
    left, right = (of(part) for part in answer.parts[:2])
    if left is None or right is None:
        return None
    with mpmath.workdps(DIGITS):
        found = [a - b for a, b in zip(left[0], right[0], strict=True)]
    return found, [a or b for a, b in zip(left[1], right[1], strict=True)]


def proportional(one: Values | None, other: Values | None, positive: bool = False) -> bool:
    """Whether one is a constant multiple of the other, at the points where both are real."""
    if one is None or other is None:
        return False
    pairs = [
        (a, b) for a, b, out, out_b in zip(one[0], other[0], one[1], other[1], strict=True) if not out and not out_b
    ]
    if len(pairs) < 2 or any(a == 0 or b == 0 or not mpmath.isfinite(a) or not mpmath.isfinite(b) for a, b in pairs):
        return False
    with mpmath.workdps(DIGITS):
        ratios = [a / b for a, b in pairs]
        if positive and (mpmath.im(ratios[0]) != 0 or mpmath.re(ratios[0]) <= 0):
            return False
        return all(same_value(ratio, ratios[0]) for ratio in ratios[1:])


def steps_of(answer: Answer) -> list[tuple[str, Values | None]] | None:
    """Each inequality as (strict or not, larger side less smaller side)."""
    if answer.kind == "interval":
        return _steps_of_interval(answer)
    steps = []
    for place, sign in enumerate(answer.sign.split()):
        left, right = answer.parts[place], answer.parts[place + 1]
        turned = sign in ("<", r"\le")
        pair = Answer("equation", "", (right, left) if turned else (left, right))
        steps.append(({"<": ">", r"\le": r"\ge"}.get(sign, sign), difference(pair)))
    return steps


def _steps_of_interval(answer: Answer) -> list[tuple[str, Values | None]] | None:
    variable, _, where = answer.text.partition(" in ")
    if not where or len(answer.parts) != 2:
        return None
    name, steps = Answer("expression", variable), []
    for place, end in enumerate(answer.parts):
        if r"\infty" in end.text:
            continue
        sign = r"\ge" if answer.sign[place] in "[]" else ">"
        steps.append((sign, difference(Answer("equation", "", (name, end) if place == 0 else (end, name)))))
    return steps
