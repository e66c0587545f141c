"""Answers that are True or False: which of the two a response says; both, or neither, is no answer.

A negation is what it says: "not true" is False. What agrees or disagrees in other words ("yes", "correct") is not read,
since it may be about a step.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sivgap.grading.forms import Form, in_form
from sivgap.grading.grade import Grade
from sivgap.grading.marks import marks
from sivgap.grading.plain_text import plain
from sivgap.grading.reasoning import answer_part
from sivgap.grading.sentence import LONGEST_SENTENCE, sentences

_WORD = re.compile(r"(?i)(?:(?P<negated>\bnot|n't|\bcannot)\s+(?:be\s+)?)?(?<![\w-])(?P<truth>true|false)(?![\w-])")
_ALONE = re.compile(r"(?i)[\s*_\"'$.]*(true|false)[\s*_\"'$.]*")
_EMPHASIS = re.compile(r"\*\*|__|`")
_UNDECIDED = re.compile(
    r"(?i)\b(?:un(?:known|certain|clear|decid\w+|determin\w+)|not necessarily|indeterminate|ambiguous|not enough"
    r"|(?:cannot|can't|could not|can not|impossible to) (?:be )?(?:determin|decid|know|infer|conclud|prove|say"
    r"|tell)\w*)"
)
_CONCLUDES = re.compile(r"(?i)\b(?:so|therefore|thus|hence)\b|[,;]\s+(?=(?:the|it|this|that)\b)")
"""Behind it is what a sentence of two clauses concludes."""
_TAKEN_BACK = re.compile(
    r"(?i)\b(?:wait,? no|no,? wait|scratch that|correction|oops|i was wrong|i (?:have )?made an? (?:mistake|error)"
    r"|on second thought|my answer (?:is|was) (?:wrong|incorrect|not right)|actually,? (?:it|this|that|the)\b)"
)
_NEXT = re.compile(r"(?i)\btrue or false\s*[:?]")
_MOST_NEXT = 5
"""Questions at which an answered response may end."""


def find_truth(response: str) -> tuple[bool | None, str]:
    """Whether a response says True or False, and by which rule; None where it says neither, or both."""
    text = _before_next_question(_EMPHASIS.sub("", answer_part(response)).strip())
    for mark in reversed(marks(text)):
        first = next(iter(sentences(mark.passage)), "")
        values = _values(first)
        if not values and not _UNDECIDED.search(first):
            continue
        rest = text[mark.end - len(mark.passage) + len(first) :] if mark.rule != "box" else text[mark.end :]
        taken_back = _TAKEN_BACK.search(rest)
        if taken_back:
            later = [found for one in sentences(rest[taken_back.start() :]) if (found := _values(one))]
            return _one(later[-1] if later else set()), "correction"
        return _one(values), mark.rule
    said = sentences(text)
    if not said:
        return None, ""
    values = _concluded(said[-1])
    if values or len(said) == 1 or not _ALONE.fullmatch(said[0]):
        return _one(values), "last sentence"
    return _one(_values(said[0])), "first sentence"


def _before_next_question(text: str) -> str:
    """Without what a response goes on to ask itself once it has answered."""
    for heading in list(_NEXT.finditer(text))[:_MOST_NEXT]:
        before = text[: heading.start()]
        if any(len(_values(next(iter(sentences(mark.passage)), ""))) == 1 for mark in marks(before)):
            return before
    return text


def _values(text: str) -> set[bool]:
    """The truths that a text says; none where it says that nobody can know."""
    text = plain(text[-LONGEST_SENTENCE:])
    if _UNDECIDED.search(text):
        return set()
    return {(word["truth"].lower() == "true") == (word["negated"] is None) for word in _WORD.finditer(text)}


def _concluded(sentence: str) -> set[bool]:
    values = _values(sentence)
    return values if len(values) < 2 else _values(_CONCLUDES.split(sentence[-LONGEST_SENTENCE:])[-1]) or values


def _one(values: set[bool]) -> bool | None:
    return next(iter(values)) if len(values) == 1 else None


def unreadable_truth(reference: str) -> str | None:
    """What is wrong with a reference, and what to write; None where its grader reads it."""
    if find_truth(reference)[0] is None:
        return f"expected True or False, or a solution that ends in 'The answer is True.', got {reference[-60:]!r}"
    return None


def grade_truths(responses: Sequence[str], references: Sequence[str], forms: Sequence[Form]) -> list[Grade]:
    """True or False, in letters of any case."""
    pairs = zip(responses, references, strict=True)
    return [_truth(response, find_truth(reference)[0], forms) for response, reference in pairs]


def _truth(response: str, gold: bool | None, forms: Sequence[Form]) -> Grade:
    truth, rule = find_truth(response)
    if truth is None:
        return Grade(None, False, False)
    right = truth == gold
    said = [_ALONE.fullmatch(plain(text)) for form in forms if (text := in_form(response, form)) is not None]
    strictly = right and any(alone is not None and alone[1].capitalize() == str(truth) for alone in said)
    return Grade(str(truth), right, strictly, rule, f"={truth}")
