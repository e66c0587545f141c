r"""Whether two readings of mathematical answers are equal: within their kind, and never when in doubt.

`key` is a canonical form: answers with equal keys are one answer, whatever their spelling.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

import mpmath

from sivgap.grading.formula import DIGITS, UnreadableError, Value, same_value, same_values, values
from sivgap.grading.kinds import Answer, read, unit_group, words_form
from sivgap.grading.number import Number, read_number, same_number
from sivgap.grading.symbolic import computable, same_symbolically

FEWEST_PLACES = 6
"""Decimals that a rounded value must have to stand for an exact one: 0.333333 is 1/3, 0.333 is not."""
MOST_COMPARED = 40
"""Elements of sets that are matched with each other."""

_REMEMBERED = 2048
Values = tuple[list[Value], list[bool]]


@lru_cache(_REMEMBERED)
def reading(text: str) -> Answer | None:
    return read(text)


@lru_cache(_REMEMBERED)
def _values(text: str) -> Values | None:
    try:
        return values(text)
    except (UnreadableError, RecursionError):
        return None


def equal_texts(gold: str, answer: str) -> bool:
    """Whether two answers, each as a text of its own, are equal."""
    one, other = reading(gold), reading(answer)
    return one is not None and other is not None and equal(one, other)


def equal(gold: Answer, answer: Answer) -> bool:
    """Whether two readings are equal."""
    if (gold.kind, gold.text, gold.sign) == (answer.kind, answer.text, answer.sign) and gold.text:
        return _units_agree(gold, answer)
    if "labelled" in (gold.sign, answer.sign):
        return _labelled(gold, answer)
    if "assignment" in (gold.kind, answer.kind):
        return _assigned(gold, answer)
    if {gold.kind, answer.kind} <= {"number", "expression"}:
        return _units_agree(gold, answer) and _same_expression(gold, answer)
    if "text" in (gold.kind, answer.kind):
        return _same_text(gold, answer)
    if {gold.kind, answer.kind} == {"tuple", "interval"}:
        return gold.sign == answer.sign and _each(gold.parts, answer.parts)
    if "set" in (gold.kind, answer.kind):
        return _same_set(gold, answer)
    if "matrix" in (gold.kind, answer.kind) and gold.kind != answer.kind:
        return "expression" in (gold.kind, answer.kind) and _symbolically(gold.text, answer.text)
    if answer.kind == "equation" and gold.kind in ("number", "expression"):
        return _result(gold, answer)
    if gold.kind != answer.kind:
        return _same_relation(gold, answer) if {gold.kind, answer.kind} == {"relation", "interval"} else False
    return _of_one_kind(gold, answer)


def _result(gold: Answer, answer: Answer) -> bool:
    """``a + b = 7`` and ``3 \\cdot 4 = 12`` give their right side, where the left one is to be found, or the same."""
    left, right = answer.parts
    found = of(left)
    unknown = found is not None and len(set(map(str, found[0]))) > 1
    return ((unknown and right.number is not None) or equal(left, right)) and equal(gold, right)


def _labelled(gold: Answer, answer: Answer) -> bool:
    """``(C) 12`` is the choice (C), and 12."""
    label, other = (gold, answer) if gold.sign == "labelled" else (answer, gold)
    if other.sign == "labelled" or other.kind == "text" or re.fullmatch("[A-F]", other.text):
        return label.text == other.text.lower()
    return equal(label.parts[0], other) if label is gold else equal(other, label.parts[0])


def _of_one_kind(gold: Answer, answer: Answer) -> bool:
    match gold.kind:
        case "tuple" | "interval":
            same_brackets = gold.sign == answer.sign or {gold.sign, answer.sign} == {"()", "<>"}
            return same_brackets and _each(gold.parts, answer.parts)
        case "union":
            return _matched(gold.parts, answer.parts)
        case "matrix":
            rows = zip(gold.parts, answer.parts, strict=False)
            return (
                gold.sign == answer.sign
                and len(gold.parts) == len(answer.parts)
                and all(_each(one.parts, other.parts) for one, other in rows)
            )
        case "equation":
            return _proportional(_difference(gold), _difference(answer))
        case "relation":
            return _same_relation(gold, answer)
        case "time":
            return gold.text == answer.text and (gold.sign == answer.sign or not gold.sign)
        case "base":
            return gold.text == answer.text and gold.sign == answer.sign
        case _:
            return gold.text == answer.text


def _each(gold: tuple[Answer, ...], answer: tuple[Answer, ...]) -> bool:
    return len(gold) == len(answer) and all(equal(one, other) for one, other in zip(gold, answer, strict=True))


def _units_agree(gold: Answer, answer: Answer) -> bool:
    one, other = unit_group(gold), unit_group(answer)
    return one is None or other is None or one == other


def _same_expression(gold: Answer, answer: Answer) -> bool:
    if gold.number and answer.number:
        return same_number(gold.number, answer.number) or _rounded(gold.number, answer.number)
    letters = [re.sub(r"\\text|[\s{}]", "", side.text) for side in (gold, answer)]
    if all(word.isalpha() for word in letters):
        return letters[0] == letters[1] or _equal_values(gold, answer)
    return _equal_values(gold, answer)


def _equal_values(gold: Answer, answer: Answer) -> bool:
    one, other = of(gold), of(answer)
    if one is None or other is None:
        return _tight(gold.text) == _tight(answer.text) or _symbolically(gold.text, answer.text)
    if same_values(one, other):
        return True
    for decimal, exact in ((gold, other), (answer, one)):
        if decimal.number and (decimal.number.places or 0) >= FEWEST_PLACES and _rounds_to(exact[0][0], decimal.number):
            return True
    percent = next((side.number for side in (gold, answer) if side.number and side.number.percent), None)
    if percent:
        exact = other if gold.number and gold.number.percent else one
        return same_value(exact[0][0], _of_fraction(percent.value / 100)) and len(set(map(str, exact[0]))) == 1
    return False


def _symbolically(gold: str, answer: str) -> bool:
    return (computable(gold) or computable(answer)) and same_symbolically(gold, answer)


def _tight(text: str) -> str:
    return re.sub(r"\s+", "", text)


def of(answer: Answer) -> Values | None:
    """Values at the points of a number or an expression."""
    if answer.number:
        return [_of_fraction(answer.number.value)] * 3, [False] * 3
    return _values(answer.text)


def _of_fraction(value: Fraction) -> Value:
    with mpmath.workdps(max(DIGITS, len(str(value.numerator)) + 5)):
        return mpmath.mpf(value.numerator) / value.denominator


def _rounded(one: Number, other: Number) -> bool:
    for decimal, exact in ((one, other), (other, one)):
        places = decimal.places or 0
        if (
            places >= FEWEST_PLACES
            and (exact.places is None or exact.places > places)
            and decimal.percent == exact.percent
        ):
            return abs(decimal.value - exact.value) <= max(Fraction(1, 2 * 10**places), _of_doubles(decimal))
    return False


def _rounds_to(exact: Value, decimal: Number) -> bool:
    if mpmath.im(exact) != 0 or not mpmath.isfinite(exact):
        return False
    with mpmath.workdps(DIGITS):
        rounding = max(Fraction(1, 2 * 10 ** (decimal.places or 0)), _of_doubles(decimal))
        return bool(abs(mpmath.re(exact) - _of_fraction(decimal.value)) <= _of_fraction(rounding))


def _of_doubles(decimal: Number) -> Fraction:
    """What programs are off by that print all digits of a double; nothing where fewer are written."""
    return abs(decimal.value) / 2**52 if (decimal.places or 0) >= 14 else Fraction(0)


def _same_text(gold: Answer, answer: Answer) -> bool:
    """Words by their letters; a letter is the same in words, as a choice, and as a variable."""
    if gold.kind == answer.kind:
        if gold.text == answer.text or gold.text.replace(" ", "") == answer.text.replace(" ", ""):
            return True
        if sorted(_listed(gold.text)) == sorted(_listed(answer.text)):
            return True
        short, long = sorted((gold, answer), key=lambda side: len(side.text))
        return "choice" in short.sign and long.text.startswith(f"{short.text} ") and long.kind == "text"
    text, other = (gold, answer) if gold.kind == "text" else (answer, gold)
    if other.kind == "set":
        return sorted(_listed(text.text)) == sorted(words_form(part.text) for part in other.parts)
    if other.number:
        said = read_number(text.text)
        return said is not None and same_number(said, other.number)
    if other.kind == "expression" and not other.unit:
        return words_form(re.sub(r"\\text|[{}]", "", other.text)).replace(" ", "") == text.text.replace(" ", "") != ""
    return False


def _listed(text: str) -> list[str]:
    """The items of a list in words."""
    return [item.strip() for item in re.split(r"\band\b|;", text) if item.strip()]


def _same_set(gold: Answer, answer: Answer) -> bool:
    if gold.kind != answer.kind:
        whole, one = (gold, answer) if gold.kind == "set" else (answer, gold)
        parts = _distinct(whole.parts)
        if one.kind == "tuple" and one.sign == "()" and _all_named(parts):
            return _each(*(tuple(p.parts[0] for p in parts), one.parts)[:: 1 if whole is gold else -1])
        return len(parts) == 1 and equal(*((parts[0], one) if whole is gold else (one, parts[0])))
    return _units_agree(gold, answer) and _matched(gold.parts, answer.parts)


def _all_named(parts: list[Answer]) -> bool:
    names = [part.sign for part in parts if part.kind == "assignment"]
    return len(parts) > 1 and len(set(names)) == len(parts)


def _distinct(parts: tuple[Answer, ...]) -> list[Answer]:
    kept: list[Answer] = []
    for part in parts[:MOST_COMPARED]:
        if not any(equal(part, other) for other in kept):
            kept.append(part)
    return kept


def _matched(gold: tuple[Answer, ...], answer: tuple[Answer, ...]) -> bool:
    """Whether the elements are the same, in any order."""
    if max(len(gold), len(answer)) > MOST_COMPARED:
        return _each(gold, answer)
    left, right = _distinct(gold), _distinct(answer)
    if len(left) != len(right):
        return False
    for part in left:
        partner = next((i for i, other in enumerate(right) if equal(part, other)), None)
        if partner is None:
            return False
        del right[partner]
    return True


def _assigned(gold: Answer, answer: Answer) -> bool:
    """``x = 5`` is 5, ``f(x) = 2x`` is 2x; two that name different things are compared as equations."""
    if gold.kind == answer.kind:
        if gold.sign.lower() == answer.sign.lower() or {len(gold.sign), len(answer.sign)} != {1}:
            return equal(gold.parts[0], answer.parts[0])
        return _proportional(_difference(gold), _difference(answer))
    named, other = (gold, answer) if gold.kind == "assignment" else (answer, gold)
    if other.kind == "equation":
        return _proportional(_difference(named), _difference(other))
    if other.kind in ("relation",):
        return False
    value = named.parts[0]
    return equal(value, other) if named is gold else equal(other, value)


def _difference(answer: Answer) -> Values | None:
    """Left side less right side, at the points."""
    left, right = (of(part) for part in answer.parts[:2])
    if left is None or right is None:
        return None
    with mpmath.workdps(DIGITS):
        found = [a - b for a, b in zip(left[0], right[0], strict=True)]
    return found, [a or b for a, b in zip(left[1], right[1], strict=True)]


def _proportional(one: Values | None, other: Values | None, positive: bool = False) -> bool:
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


def _same_relation(gold: Answer, answer: Answer) -> bool:
    """Inequalities up to a positive factor, whichever way they are turned; ``\\ne`` up to any."""
    one, other = (_steps(side) for side in (gold, answer))
    if one is None or other is None or len(one) != len(other):
        return False
    return all(
        any(sign == sign_b and _proportional(step, step_b, positive=sign != r"\ne") for sign_b, step_b in other)
        for sign, step in one
    )


def _steps(answer: Answer) -> list[tuple[str, Values | None]] | None:
    """Each inequality as (strict or not, larger side less smaller side)."""
    if answer.kind == "interval":
        return _steps_of_interval(answer)
    steps = []
    for place, sign in enumerate(answer.sign.split()):
        left, right = answer.parts[place], answer.parts[place + 1]
        turned = sign in ("<", r"\le")
        pair = Answer("equation", "", (right, left) if turned else (left, right))
        steps.append(({"<": ">", r"\le": r"\ge"}.get(sign, sign), _difference(pair)))
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
        steps.append((sign, _difference(Answer("equation", "", (name, end) if place == 0 else (end, name)))))
    return steps


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
        found = _values(answer.text)
        return f"x{_tight(answer.text)}" if found is None else _fingerprint(found)
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
    steps = _steps(answer) or [] if answer.kind == "relation" else [("=", _difference(answer))]
    found = []
    for sign, step in steps:
        if step is None or any(value == 0 or not mpmath.isfinite(value) for value in step[0]):
            return f"{answer.kind}:{_tight(answer.text)}"
        with mpmath.workdps(DIGITS):
            scale = step[0][0] if sign in ("=", r"\ne") else abs(step[0][0])
            found.append(sign + _fingerprint(([value / scale for value in step[0]], step[1])))
    return ";".join(sorted(found))


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
