r"""The value of a formula at a few points: how two expressions are told to be equal, however they are arranged.

It is computed with 50 digits at three points, the same for a letter wherever it stands. Two that agree at every point
to 36 digits are equal: identities of elementary functions do not hold by chance. Sums that cancel are exactly zero.
What is not read here (sums, integrals, limits) raises `UnreadableError`.
"""

from __future__ import annotations

import mpmath

from sivgap.grading.formula_reader import DIGITS, FormulaReader, UnreadableError, Value

_SAME = mpmath.mpf(10) ** -36
POINTS = 3


def values(text: str, shift: int = 0) -> tuple[list[Value], list[bool]]:
    """Its value at each point, and whether a root or logarithm of a negative number was met there.

    Raises:
        UnreadableError: If the text is no formula, or has no value at any point.
    """
    found, outside = [], []
    with mpmath.workdps(DIGITS):
        for point in range(shift, shift + POINTS):
            reader = FormulaReader(text, point)
            try:
                found.append(reader.read())
            except (ZeroDivisionError, ValueError, OverflowError, TypeError, RecursionError) as error:
                raise UnreadableError(str(error)[:60]) from error
            outside.append(reader.outside)
            if not reader.symbols:
                return found * POINTS, outside * POINTS
    return found, outside


def same_values(one: tuple[list[Value], list[bool]], other: tuple[list[Value], list[bool]]) -> bool:
    """Whether two formulas agree at the points where both are real, or at all if there are none."""
    pairs = list(zip(*one, *other, strict=True))
    inside = [(a, b) for a, out, b, out_b in pairs if not out and not out_b] or [(a, b) for a, _, b, _ in pairs]
    return all(same_value(a, b) for a, b in inside)


def same_value(one: Value, other: Value) -> bool:
    """Equality up to rounding, relative: the smallest powers are told apart, and only zero is zero."""
    with mpmath.workdps(DIGITS):
        if mpmath.isnan(one) or mpmath.isnan(other):
            return False
        if mpmath.isinf(one) or mpmath.isinf(other):
            return bool(one == other)
        return bool(abs(one - other) <= _SAME * min(abs(one), abs(other)))
