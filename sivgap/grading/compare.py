"""Whether two readings of mathematical answers are equal: within their kind, and never when in doubt."""

from __future__ import annotations

import re
from functools import lru_cache

from sivgap.grading.answer import Answer
from sivgap.grading.formula import same_value, same_values
from sivgap.grading.kinds import read
from sivgap.grading.leaves import words_form
from sivgap.grading.number import read_number, same_number
from sivgap.grading.symbolic import computable, same_symbolically
from sivgap.grading.units import unit_of
from sivgap.grading.values import (
    FEWEST_PLACES,
    difference,
    of,
    of_fraction,
    proportional,
    rounded,
    rounds_to,
    steps_of,
    tight,
)

MOST_COMPARED = 40
"""Elements of sets that are matched with each other."""


@lru_cache(2048)
def reading(text: str) -> Answer | None:
    return read(text)


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
            return proportional(difference(gold), difference(answer))
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
    one, other = (unit_of(side.unit) if side.unit else None for side in (gold, answer))
    return one is None or other is None or one == other


def _same_expression(gold: Answer, answer: Answer) -> bool:
    if gold.number and answer.number:
        return same_number(gold.number, answer.number) or rounded(gold.number, answer.number)
    letters = [re.sub(r"\\text|[\s{}]", "", side.text) for side in (gold, answer)]
    if all(word.isalpha() for word in letters):
        return letters[0] == letters[1] or _equal_values(gold, answer)
    return _equal_values(gold, answer)


def _equal_values(gold: Answer, answer: Answer) -> bool:
    one, other = of(gold), of(answer)
    if one is None or other is None:
        return tight(gold.text) == tight(answer.text) or _symbolically(gold.text, answer.text)
    if same_values(one, other):
        return True
    for decimal, exact in ((gold, other), (answer, one)):
        if decimal.number and (decimal.number.places or 0) >= FEWEST_PLACES and rounds_to(exact[0][0], decimal.number):
            return True
    percent = next((side.number for side in (gold, answer) if side.number and side.number.percent), None)
    if percent:
        exact = other if gold.number and gold.number.percent else one
        return same_value(exact[0][0], of_fraction(percent.value / 100)) and len(set(map(str, exact[0]))) == 1
    return False


def _symbolically(gold: str, answer: str) -> bool:
    return (computable(gold) or computable(answer)) and same_symbolically(gold, answer)


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
        return proportional(difference(gold), difference(answer))
    named, other = (gold, answer) if gold.kind == "assignment" else (answer, gold)
    if other.kind == "equation":
        return proportional(difference(named), difference(other))
    if other.kind in ("relation",):
        return False
    value = named.parts[0]
    return equal(value, other) if named is gold else equal(other, value)


def _same_relation(gold: Answer, answer: Answer) -> bool:
    """Inequalities up to a positive factor, whichever way they are turned; ``\\ne`` up to any."""
    one, other = (steps_of(side) for side in (gold, answer))
    if one is None or other is None or len(one) != len(other):
        return False
    return all(
        any(sign == sign_b and proportional(step, step_b, positive=sign != r"\ne") for sign_b, step_b in other)
        for sign, step in one
    )
