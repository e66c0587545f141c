"""A canonical form of readings: equal answers have equal keys, so that votes count by a hash."""

from __future__ import annotations

import re
from fractions import Fraction

import mpmath

from sivgap.grading.answer import Answer
from sivgap.grading.compare import MOST_COMPARED
from sivgap.grading.formula import same_value
from sivgap.grading.formula_reader import DIGITS, Value
from sivgap.grading.values import Values, difference, steps_of, tight, values_of


def key(answer: Answer) -> str:
    """A canonical form: equal answers have equal keys, up to what only a comparison tells (0.5 and 50 %)."""
    if answer.kind == "assignment":
        of_line = answer.sign in ("x", "y") and key(answer.parts[0]).startswith("v")  # y = 2x + 3 is 2x - y + 3 = 0
        return _key_of_steps(answer) if of_line else key(answer.parts[0])
    if answer.number:
        return f"n{answer.number.value}"
    if re.fullmatch("[A-E]", answer.text):
        return f"text:{answer.text.lower()}:"  # a choice
    if answer.kind == "expression":
        found = values_of(answer.text)
        return f"x{tight(answer.text)}" if found is None else _fingerprint(found)
    inner = [key(part) for part in answer.parts[:MOST_COMPARED]]
    if answer.kind in ("set", "union"):
        parts = sorted(set(inner))
        return parts[0] if len(parts) == 1 and answer.kind == "set" else f"{answer.kind}({','.join(parts)})"
    if answer.kind in ("equation", "relation"):
        return _key_of_steps(answer)
    if answer.kind in ("tuple", "interval", "matrix"):
        return f"{answer.sign.replace('<>', '()')}({','.join(inner)})"
    return f"{answer.kind}:{answer.text}:{answer.sign if answer.kind == 'base' else ''}"


def _key_of_steps(answer: Answer) -> str:
    steps = steps_of(answer) or [] if answer.kind == "relation" else [("=", difference(answer))]
    found = []
    for sign, step in steps:
        if step is None or any(value == 0 or not mpmath.isfinite(value) for value in step[0]):
            return f"{answer.kind}:{tight(answer.text)}"
        with mpmath.workdps(DIGITS):
            scale = step[0][0] if sign in ("=", r"\ne") else abs(step[0][0])
            found.append(sign + _fingerprint(([value / scale for value in step[0]], step[1])))
    return ";".join(sorted(found))


def exact_value(found: Values) -> Fraction | None:
    """The fraction that a formula without variables is, if it is a simple one."""
    first = found[0][0]
    return _small_fraction(first) if all(same_value(value, first) for value in found[0][1:]) else None


def _fingerprint(found: Values) -> str:
    first = found[0][0]
    if all(same_value(value, first) for value in found[0][1:]):
        exact = _small_fraction(first)
        return f"c{mpmath.nstr(first, 20)}" if exact is None else f"n{exact}"
    return "v" + ",".join(mpmath.nstr(value, 20) for value in found[0])


def _small_fraction(value: Value) -> Fraction | None:
    if mpmath.im(value) != 0 or not mpmath.isfinite(value) or abs(value) > mpmath.mpf(10) ** 15:
        return None
    with mpmath.workdps(DIGITS):
        near = Fraction(str(mpmath.nstr(mpmath.re(value), DIGITS - 2, strip_zeros=False))).limit_denominator(10**9)
        return near if same_value(mpmath.mpf(near.numerator) / near.denominator, mpmath.re(value)) else None
