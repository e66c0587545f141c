r"""Finding the final answer in a response, in the order a person would go.

1. What follows the reasoning, and stands before a next question (`sivgap.grading.reasoning`).
2. The last explicit answer that says something (`sivgap.grading.marks`), and what takes it back after it.
3. The last sentence that says something.

The rule by which an answer was read comes with it; ``docs/grading.md`` has them all in a table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from sivgap.grading.arithmetic import value_of_sum
from sivgap.grading.keys import exact_value
from sivgap.grading.latex import spell
from sivgap.grading.limits import acceptable
from sivgap.grading.marks import Mark, boxes, marks
from sivgap.grading.number import Number, numbers_in, read_number, word_numbers_in
from sivgap.grading.plain_text import plain
from sivgap.grading.reasoning import answer_part
from sivgap.grading.sentence import sentences, stated_number
from sivgap.grading.values import values_of

MOST_SENTENCES = 100
"""Sentences looked at, from the end."""


@dataclass(frozen=True)
class Found:
    """An answer as text, and the rule by which it was read."""

    text: str
    rule: str


_EITHER = re.compile(
    r"(?i)\s*(?:[$€£]?\d[\d,.]*\s+or\s+[$€£]?\d[\d,.]*|(?:somewhere |anywhere )?between\s+\S{1,20}\s+and\s+\S{1,20}"
    r"(?: \w+)?)\W*"
)
"""Two answers are none."""
_NOTHING = re.compile(r"(?i)\W*(?:none|nothing|no (?!solution|answer|idea|way)[a-z]+(?: left)?)\W*")
_CALCULATOR = re.compile(r"<<[^<>\n]{0,200}>>")
TAKEN_BACK = re.compile(
    r"(?i)\b(?:(?:that|this|which|it|my|the) ?(?:answer|result|calculation)? (?:is|was|'s) (?:wrong|incorrect"
    r"|not right|not correct"
    r"|a mistake|an error)|i (?:made|have made) (?:a|an) (?:mistake|error)|correction|oops|mistake|miscalculat\w+"
    r"|i was wrong"
    r"|apologi[sz]e|sorry|should (?:actually )?be(?! noted)|actually)\b"
)
ADMITTED = re.compile(
    r"(?i)\b(?:(?:that|this|which|it|my answer|the answer|the result)(?: is|'s| was) (?:wrong|incorrect"
    r"|not (?:right|correct)"
    r"|a mistake|an error)|i (?:have )?made an? (?:mistake|error)|correction|oops|i was wrong|wait,? no|no,? wait"
    r"|scratch that|my bad"
    r"|on second thought)\b|(?:^|\.\.\.|…|—|;|,)\s*no,"
)
"""Words that leave nothing of the answer before."""
CONCLUDES = re.compile(
    r"(?i)\b(?:so|therefore|thus|hence|in total|altogether|the (?:correct|right|actual)|actually"
    r"|should (?:actually )?be|instead)\b"
)
SUPPOSES = re.compile(
    r"(?i)^\W*(?:(?:now,? |so,? )?(?:suppose|assume|consider|denote|let (?!me|us|'s)\S+ (?:=|be|denote))"
    r"|(?:we|i) (?:want|need|have|are asked|must) to (?:find|determine|compute|calculate|solve|know)\b)"
)
"""How what is not an answer begins."""
ANNOUNCES = re.compile(
    r"(?i)^\W*(?:(?:now,? |first,? |next,? |then,? |so,? |ok(?:ay)?,? |alright,? )*(?:let me(?! know)|let's"
    r"|let us|i will"
    r"|i'll|i'm going to"
    r"|i need to|we will|we'll|we (?:can|must|need to|have to)|to (?:solve|find|determine|answer)|here(?:'s| is"
    r"| are)|step \d+\W*$))"
    r"(?![^\n]*=)"
)


def last_boxed(text: str) -> str | None:
    r"""Content of the last ``\boxed{...}`` or ``\boxed x``; None if there is none or it never closes."""
    found = boxes(text[-LONGEST_SOLUTION:])
    return found[-1].passage if found else None


LONGEST_SOLUTION = 100_000


def final_number(response: str) -> str | None:
    """The number that a person reads as the answer, as text that `to_fraction` reads; None where none is given."""
    found = find_number(response)
    return None if found is None else found[1].text


def find_number(response: str) -> tuple[Number, Found] | None:
    """The number that a person reads as the answer, and how."""
    text = _CALCULATOR.sub("", answer_part(response)).strip()
    for mark in reversed(marks(text)):
        if _EITHER.fullmatch(mark.passage):
            return None
        number = _marked_number(mark, text)
        if number is not None:
            said = next(iter(sentences(mark.passage)), "") if mark.rule != "box" else mark.passage
            corrected = _correction(text[mark.end - len(mark.passage) + len(said) :], number)
            return corrected or (number, Found(exact_text(number), mark.rule))
    return _of_last_sentence(text)


def _marked_number(mark: Mark, text: str) -> Number | None:
    if mark.rule == "box":
        return read_number(mark.passage) or _computed(mark.passage) or _stated(mark.passage, behind_mark=True)
    first = next(iter(sentences(mark.passage)), "")
    if _NOTHING.fullmatch(mark.passage):
        return Number(Fraction(0))
    number = read_number(first) if len(first) < 60 else None
    rest = text[mark.end - len(mark.passage) + len(first) :] if mark.opens else ""
    if mark.opens and (number is None or "=" in first) and _numbers(plain(rest)):
        return None  # the heading of a whole solution
    return number or _sum(first) or _stated(_choice_out(mark.passage), behind_mark=True)


def _computed(text: str) -> Number | None:
    """The number that a sum or a root is: ``24 \\div 2``, ``\\sqrt{64}``."""
    if r"\sqrt" not in text:
        return _sum(text)
    found = values_of(spell(text)) if acceptable(text) else None
    value = exact_value(found) if found else None
    return None if value is None else Number(value)


def _sum(text: str) -> Number | None:
    value = value_of_sum(re.sub(r"^\s*[a-zA-Z]\s*=|=\s*$", "", plain(text)).strip(" *_$"))
    return None if value is None else Number(value)


def _choice_out(passage: str) -> str:
    return re.sub(r"^\W{0,4}\(?[A-Ea-e]\)\W?", "", passage)


def _stated(passage: str, behind_mark: bool) -> Number | None:
    """Of the sentences behind a mark the first that says a number, or a later one that concludes."""
    said = [(sentence, found[0]) for sentence in sentences(passage) if (found := stated_number(sentence, behind_mark))]
    concluding = [
        number for sentence, number in said[1:] if re.match(r"(?i)\W*(?:so|therefore|thus|hence)\b", sentence)
    ]
    return concluding[-1] if concluding else said[0][1] if said else None


def _correction(rest: str, before: Number) -> tuple[Number, Found] | None:
    """What takes an answer back without a mark of its own: "that is wrong. ... So she has 12"."""
    wholly = ADMITTED.search(rest)
    taken_back = wholly or TAKEN_BACK.search(rest)
    if not taken_back:
        return None
    for sentence in reversed(sentences(rest[taken_back.start() :])):
        if (wholly or CONCLUDES.search(sentence)) and (found := stated_number(sentence)):
            same = found[0].value == before.value
            return None if same else (found[0], Found(exact_text(found[0]), "correction"))
    return None


def _of_last_sentence(text: str) -> tuple[Number, Found] | None:
    for sentence in reversed(sentences(text)[-MOST_SENTENCES:]):
        if SUPPOSES.search(sentence) or (ANNOUNCES.search(sentence) and not re.search(r"[.!]\W*$", sentence)):
            return None  # cut off while it announces what is to come
        if (found := stated_number(sentence)) is not None:
            return found[0], Found(exact_text(found[0]), "last sentence")
        if ANNOUNCES.search(sentence):
            return None
    return None


def _numbers(text: str) -> list[Number]:
    return numbers_in(text) or list(word_numbers_in(text))


def exact_text(number: Number) -> str:
    """A number as text that reads as the same number."""
    return shown_value(number.value) + ("%" if number.percent else "")


def shown_value(value: Fraction) -> str:
    """``5``, ``2.5`` or ``1/3``."""
    if value.denominator == 1:
        return str(value.numerator)
    places = next((p for p in range(1, 13) if 10**p % value.denominator == 0), None)
    if places is None:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
