"""Which number a sentence states: ``8 pens will cost $12.00`` states 12, ``she pays 64 over 12 months`` states 64."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sivgap.grading.arithmetic import value_of_sum
from sivgap.grading.number import Number, numbers_in, word_numbers_in
from sivgap.grading.plain_text import plain

LONGEST_SENTENCE = 800
"""Characters of a sentence that are read, from its end."""

_END = re.compile(r"(?<=[.!?])[\"')*]{0,3}\s+(?=[^\s])|\n+|(?<=。)")
_ABBREVIATION = re.compile(r"(?i)\b(?:mr|mrs|ms|dr|st|vs|approx|no|e\.g|i\.e|etc|u\.s|a\.m|p\.m)\.\s*$")

_BOLD = re.compile(r"(?:\*\*|__)([^*_\n]{1,80})(?:\*\*|__)")
REASON = re.compile(
    r"(?i)(?:,\s*|\s+)(?:since|because|as (?:he|she|it|they|we|there|the)|given that|which (?:is|means|was)"
    r"|after (?:\w+ing|the)|when|if|assuming|but (?:it|he|she|they|could|might|may|not))\b.*$"
)
_ASIDE = re.compile(r"\([^()]{0,200}\)")
_CONDITION = re.compile(
    r"(?i)^\W*(?:if|when|after|since|because|given|considering|as|for|in|at|with|by|once|assuming|out of|from|on"
    r"|during|over|having|subtracting|adding)\b[^,]{1,160},\s+"
)
_CONCLUSION = re.compile(
    r"(?i)(?:^|[\s,;.])(?:so|therefore|thus|hence|meaning|which means|that is|that's|for a (?:grand )?total of"
    r"|totall?ing"
    r"|leaving|making|and together|altogether|combined|in all|which rounds (?:up |down )?to|rounded (?:up "
    r"|down )?to)\s+"
)
_RELATIVE = r"(?<!\bthat )(?<!\bwhich )(?<!\bwho )"
_COPULA = re.compile(
    rf"(?i){_RELATIVE}(?:\b(?:is|are|was|were|be|equals?|becomes?|comes? (?:out )?to|amounts? to|totals)\b|≈)"
)
_VERB = re.compile(
    r"(?i)\b(?:(?:will|would|can|could|must|should|shall)(?: need to| have to)? (?:have )?\w+|has|have|had|makes?"
    r"|made|earn"
    r"s?|earned|saves?|saved|pays?|paid|spends?|spent|needs?|needed|gets?|got|receives?|received|sells?|sold"
    r"|costs?|takes?"
    r"|took|leaves?|left|eats?|ate|buys?|bought|uses?|used|owes?|owed|gives?|gave|gains?|gained|loses?|lost|collects?"
    r"|collected|travels?|travell?ed|drives?|drove|walks?|walked|runs?|ran|weighs?|weighed|contains?|holds?"
    r"|scores?|scored"
    r"|reads?|works?|worked|finishe[sd]|completes?|completed|requires?|required|drinks?|drank|picks?|picked"
    r"|plants?|planted"
    r"|bakes?|baked|caught|catches|raises?|raised|donates?|donated|produces?|produced|fills?|filled|charges?|charged"
    r"|remain(?:s|ed)?|found|find|finds|obtain(?:s|ed)?|get)\b"
)
NEGATED = re.compile(r"(?i)\b(?:not|rather than|instead of)\s+(?:it'?s\s+)?[$€£]?\d[\d.,]*\d?")
_NEAR = 4
"""Characters before a number with which a clause begins."""
_PREPOSITION = re.compile(r"(?i)\b(?:for|by|in|over|per|from|on|at|with|during|within)\b")
_ASSIGNMENTS = re.compile(r"(?<=\d)\s*(?:,|;|\band\b)\s*(?=[a-zA-Z]\s*=)")
_EQUALS = re.compile(r"(?<![<>!≤≥])=")


def sentences(text: str) -> list[str]:
    """The sentences of a text; a line is one as well. No empty ones."""
    found, start = [], 0
    for end in _END.finditer(text):
        if "\n" not in end[0] and _ABBREVIATION.search(text[start : end.start()][-8:]):
            continue
        found.append(text[start : end.end()])
        start = end.end()
    found.append(text[start:])
    return [piece.strip() for piece in found if piece.strip()]


def stated_number(sentence: str, behind_mark: bool = False) -> tuple[Number, str] | None:
    """The number that a sentence states, and the text it was read in.

    Behind an answer mark the first number counts where no verb tells; elsewhere the last.
    """
    sentence = sentence[-LONGEST_SENTENCE:]
    for bold in reversed(_BOLD.findall(sentence)):
        text = plain(bold)
        if found := _of_equation(text):
            return found, text
    text = _ASIDE.sub(_unless_number_alone, plain(sentence.replace("**", "").replace("__", "")))
    text = NEGATED.sub(" ", text)
    if behind_mark:
        text = _ASSIGNMENTS.split(text)[0]  # of x = 12 and y = 3 the first
    found = _of_equation(text) if _EQUALS.search(text) else None
    found = found or _of_clause(text, behind_mark)
    return None if found is None else (found, text)


def _unless_number_alone(match: re.Match[str]) -> str:
    return match[0] if re.fullmatch(r"\(\s*-?[$]?[\d.,/]+\s*%?\s*\)", match[0]) else " " * len(match[0])


def _of_equation(text: str) -> Number | None:
    """The number behind the last ``=``, else the only one."""
    sides = list(_EQUALS.finditer(text))
    if sides and (value := value_of_sum(text[sides[-1].end() :])) is not None:
        return Number(value)
    if sides:
        behind = [number for number in _numbers(text) if number.start >= sides[-1].end()]
        return behind[0] if behind else None
    found = _numbers(text)
    return found[0] if found else None


def _numbers(text: str) -> list[Number]:
    return numbers_in(text) or list(word_numbers_in(text))


def _of_clause(text: str, behind_mark: bool) -> Number | None:
    found = _numbers(text)
    if len(found) <= 1:
        return found[0] if found else None
    start = max((match.end() for match in _CONCLUSION.finditer(text) if _after(found, match.end())), default=0)
    condition = _CONDITION.match(text[start:])
    if condition and _after(found, start + condition.end()):
        start += condition.end()
    reason = REASON.search(text, start)
    end = reason.start() if reason and any(start <= n.start < reason.start() for n in found) else len(text)
    clause = [number for number in found if start <= number.start < end] or found
    if len(clause) == 1:
        return clause[0]
    for pattern in (_COPULA, _VERB):
        for verb in pattern.finditer(text, start, end):
            behind = _after(clause, verb.end())
            if behind and clause[0].start - start < _NEAR and clause[0].end <= verb.start():
                between = text[verb.end() : behind[0].start]
                return clause[0] if _PREPOSITION.search(between) else behind[0]
            if behind:
                return behind[0]
    if not behind_mark and (money := [number for number in clause if number.money]) and len(money) == 1:
        return money[0]
    return clause[0] if behind_mark else clause[-1]


def _after(numbers: Sequence[Number], place: int) -> list[Number]:
    return [number for number in numbers if number.start >= place]
