"""Short answers to factual questions: which words of a response are the answer, and whether they count as right.

Answers are compared as SQuAD's evaluation does: lower case, without punctuation, articles and extra spaces.
"""

from __future__ import annotations

import json
import re
import string

from sivgap.grading.extract import LONGEST_RESPONSE, last_boxed

LONGEST_ANSWER = 500
"""Characters; each beginning of an answer is read as well, which takes the square of its length."""

_STRICT = re.compile(rf"(?:\A|\n)The answer is ([^\n]{{1,{LONGEST_ANSWER}}})\s*\Z")
_MARK = re.compile(r"(?i)\banswer(?: to (?:the|this|that|your) question)?(?: is\b ?:?| ?[:=])")
_LINE = re.compile(rf"\s*(?:A ?:)?([^\n]{{1,{LONGEST_ANSWER}}})")
_SENTENCE_END = re.compile(r"[.!?](?=\s)")
_EMPHASIS = re.compile(r"\*\*|__")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """SQuAD's normal form: ``The  Beatles!`` is ``beatles``."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def accepted_answers(reference: str) -> list[str]:
    """The answers that count: the texts of a JSON array, or the reference itself where it is none."""
    try:
        answers = json.loads(reference)
    except (ValueError, RecursionError):
        return [reference]
    is_list = isinstance(answers, list) and all(isinstance(answer, str) for answer in answers)
    return answers if is_list else [reference]


def matches(answer: str, accepted: list[str]) -> bool:
    """Whether an answer equals one that counts in normal form; as it stands if that is empty (``A+``, ``The The``)."""
    form, bare = normalise(answer), answer.strip().lower()
    if not form:
        return bool({bare, bare.removesuffix(".")} & {a.strip().lower() for a in accepted})
    return form in map(normalise, accepted)


def strict_answer(response: str) -> str | None:
    """X of a response whose last line is ``The answer is X``, with or without a full stop."""
    match = _STRICT.search(response[-LONGEST_RESPONSE:])
    return match[1].strip() if match else None


def readings(response: str) -> list[str]:
    """What a person may read as the answer: the line behind the last ``answer is`` or ``Answer:``, else a box, else the
    first line; and each beginning of it that ends like a sentence, since a full stop may also belong to a name."""
    text = _EMPHASIS.sub("", response[-LONGEST_RESPONSE:])
    marks = list(_MARK.finditer(text))
    boxed = last_boxed(text[marks[-1].end() :] if marks else text)
    line = _LINE.match(text, marks[-1].end()) if marks else _LINE.match(_EMPHASIS.sub("", response[:LONGEST_RESPONSE]))
    whole = boxed[:LONGEST_ANSWER] if boxed is not None else line[1] if line else ""
    beginnings = [whole[: stop.start()] for stop in _SENTENCE_END.finditer(whole)]
    return [answer.strip() for answer in (whole, *beginnings) if answer.strip()]
