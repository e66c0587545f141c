"""Short answers to factual questions: which words of a response are the answer, and whether they count as right.

Answers are compared as SQuAD's evaluation does: lower case, without punctuation, articles and extra spaces; beyond it
quotes, dashes and accents are one however they are encoded, and numbers and names keep what makes them: SQuAD's form
calls 31.4 and 3.14, C++ and C, the same (`squad_alone` says where).
"""

from __future__ import annotations

import json
import re
import string
import unicodedata

from sivgap.grading.marks import boxes, marks
from sivgap.grading.number import read_number
from sivgap.grading.plain_text import plain
from sivgap.grading.reasoning import LONGEST_RESPONSE, answer_part

LONGEST_ANSWER = 500
"""Characters; each beginning of an answer is read as well, which takes the square of its length."""
_LONGEST_SPELLED = 4 * LONGEST_ANSWER
MOST_SENTENCES = 20
"""Beginnings of an answer that are read."""

_LINE = re.compile(rf"\s*(?:A ?:)?([^\n]{{1,{LONGEST_ANSWER}}})")
_SENTENCE_END = re.compile(r"[.!?](?=\s)")
_EMPHASIS = re.compile(r"\*\*|__|`")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_LIST = re.compile(r"\[\s*(?:'[^'\n]*'|\"[^\"\n]*\")(?:\s*,\s*(?:'[^'\n]*'|\"[^\"\n]*\"))*\s*,?\s*\]")
_ITEM = re.compile(r"'([^'\n]*)'|\"([^\"\n]*)\"")
_NUMBERS = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?|\d+(?:\.\d+)?")
_NAMES_WITH_SIGNS = re.compile(r"\b\w(?:\+{1,2}|#|\*)(?!\w)")
_STATES = re.compile(
    r"(?i)^(?P<subject>[^.,;]{1,120}?)\s+(?:is|was|are|were)\s+(?!not\b|n't)(?P<rest>[^.;]{1,200}?)[.!]?\s*$"
)
_ASIDE = re.compile(r"\s*\([^()]{1,100}\)\s*\.?$")


def normalise(text: str) -> str:
    """SQuAD's normal form: ``The  Beatles!`` is ``beatles``."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def spelled_alike(text: str) -> str:
    """Unicode and LaTeX out of the way: curly quotes, dashes, accents however composed, ``\\text{...}``."""
    text = (
        re.sub(r"(?<=\d)\s*-\s*(?=\d)", "-", plain(text.replace("，", ", ")))
        .replace("`", "'")
        .replace("‑", "-")
        .replace("‐", "-")
        .replace("´", "'")
    )
    decomposed = unicodedata.normalize("NFKD", text)
    bare = "".join(character for character in decomposed if not unicodedata.combining(character))
    return bare.replace("ø", "o").replace("Ø", "O").replace("ß", "ss").replace("æ", "ae").replace("ł", "l")


def accepted_answers(reference: str) -> list[str]:
    """The answers that count: the texts of a list in JSON or Python, or the reference itself where it is none."""
    try:
        answers = json.loads(reference)
    except (ValueError, RecursionError):
        if _LIST.fullmatch(reference.strip()):
            return [one or other for one, other in _ITEM.findall(reference)]
        return [reference]
    is_list = isinstance(answers, list) and all(isinstance(answer, str) for answer in answers)
    return answers if is_list else [reference]


def matches(answer: str, accepted: list[str]) -> bool:
    """Whether an answer equals one that counts in normal form; as it stands if that is empty (``A+``, ``The The``)."""
    said = spelled_alike(answer[:_LONGEST_SPELLED])
    form, bare = normalise(said), said.strip().lower()
    for one in accepted:
        wanted = spelled_alike(one[:_LONGEST_SPELLED])
        if not form:
            if wanted.strip().lower() in (bare, bare.removesuffix(".")):
                return True
        elif (form == normalise(wanted) and _exact(said) == _exact(wanted)) or _same_number(said, wanted):
            return True
    return False


def squad_alone(answer: str, accepted: list[str]) -> bool:
    """Whether SQuAD's form, which drops every point and sign, takes an answer for one that it is not."""
    form = normalise(answer)
    return bool(form) and form in map(normalise, accepted) and not matches(answer, accepted)


def derive_key(answer: str) -> str:
    """What answers that match each other share."""
    said = spelled_alike(answer)
    number = read_number(said, units=False)
    if number is not None:
        return f"=n{number.value}"
    return f"={normalise(said) or said.strip().lower().removesuffix('.')}|{'|'.join(_exact(said))}"


def _exact(text: str) -> list[str]:
    """What SQuAD's form loses of numbers and names: points, signs, where one number ends, ``C++``."""
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    return [*_NUMBERS.findall(text), *map(str.lower, _NAMES_WITH_SIGNS.findall(text))]


def _same_number(one: str, other: str) -> bool:
    values = [read_number(text, units=False) for text in (one, other)]
    return values[0] is not None and values[1] is not None and values[0].value == values[1].value


def find_short_answer(response: str) -> tuple[list[str], str]:
    """What a person may read as the answer, and by which rule: what stands behind the last mark, else the first line;
    and each beginning of it that ends like a sentence, since a full stop may also belong to a name."""
    text = _EMPHASIS.sub("", answer_part(response))
    for mark in reversed(marks(text) or marks(text, judged=False)):
        boxed = boxes(mark.passage)
        whole = boxed[-1].passage if boxed else mark.passage
        line = _LINE.match(whole)
        if (line and re.search(r"[^\W_]", line[1])) or (line and line[1].strip()):
            return _beginnings(line[1] if line else ""), mark.rule
    line = _LINE.match(text[:LONGEST_RESPONSE].lstrip())
    found = _beginnings(line[1]) if line else []
    return found + _stated(found), "first line"


def readings(response: str) -> list[str]:
    """The texts that `find_short_answer` finds."""
    return find_short_answer(response)[0]


def _beginnings(whole: str) -> list[str]:
    whole = whole[:LONGEST_ANSWER]
    stops = list(_SENTENCE_END.finditer(whole))[:MOST_SENTENCES]
    found = [whole, *(whole[: stop.start()] for stop in stops)]
    found += [_ASIDE.sub("", found[0])] if _ASIDE.search(found[0]) else []
    return list(dict.fromkeys(answer.strip() for answer in found if answer.strip()))


def _stated(found: list[str]) -> list[str]:
    """Of ``The capital of France is Paris.`` Paris; of ``Paris is the capital of France.`` likewise."""
    states = _STATES.match(found[0]) if found else None
    return [states["rest"].strip(), states["subject"].strip()] if states else []
