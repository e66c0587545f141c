r"""The mathematical answer of a response as a text: what is boxed, said behind a mark, or stated at last."""

from __future__ import annotations

import re

from sivgap.grading.extract import (
    ADMITTED,
    ANNOUNCES,
    CONCLUDES,
    MOST_SENTENCES,
    SUPPOSES,
    TAKEN_BACK,
    Found,
    exact_text,
)
from sivgap.grading.marks import Mark, marks
from sivgap.grading.reasoning import answer_part
from sivgap.grading.sentence import LONGEST_SENTENCE, NEGATED, REASON, sentences, stated_number

LONGEST_BETWEEN = 70
"""Characters between two boxes that belong together, as in "either \\boxed{1} or \\boxed{-2}"."""
LONGEST_WORDS = 80
"""Characters of an answer in words behind a mark."""

_TOGETHER = re.compile(
    r"(?i)(?:[\s$,;&.()\\\]\[{}]|\\text\{|\\q?quad|and|or|respectively|[a-zA-Z](?:_\d)?\s*=|\\\(|\\\)){0,40}"
)
_SEPARATED = re.compile(r"(?i)\b(?:and|or)\b|[,;&]|quad")
_SPAN = re.compile(
    r"\$\$(?P<a>[^$]{1,2000}?)\$\$|(?<![\\\d])\$(?P<b>(?:\\\$|[^$\n]){1,2000}?)(?<!\\)\$"
    r"|\\\((?P<c>.{1,2000}?)\\\)|\\\[(?P<d>.{1,2000}?)\\\]",
    re.DOTALL,
)
_DISPLAY = re.compile(r"\\\[.{0,2000}?\\\]|\$\$.{0,2000}?\$\$", re.DOTALL)
_COPULA = re.compile(
    r"(?i)(?:\b(?:is|are|was|were|be|equals?|becomes|to be|namely)\b|['’]s\b|:)(?:\s+(?:equal to|exactly|simply"
    r"|just|approximately|about))?"
)
_JOINS = re.compile(r"(?i)[\s,.;]*(?:and|or|,|\s)?[\s,.;]*")
_CHOICE = re.compile(r"\(?[A-Z]\)?")


def find_expression(response: str) -> Found | None:
    """The final answer of a response to a mathematical problem, and the rule by which it was read."""
    text = _on_one_line(answer_part(response)).strip()
    found = marks(text)
    for place in range(len(found) - 1, -1, -1):
        said = _of_mark(found, place, text)
        if said is not None:
            return _correction(text[found[place].end :], said) or Found(said, found[place].rule)
    for sentence in reversed(sentences(text)[-MOST_SENTENCES:]):
        if SUPPOSES.search(sentence):
            return None
        if (said := stated_expression(sentence)) is not None:
            return Found(said, "last sentence")
        if ANNOUNCES.search(sentence):
            return None
    return None


def answer_of(text: str) -> str:
    """The answer that a text gives: itself if it is bare, what it says if it is a response."""
    whole = text.strip()
    span = _SPAN.fullmatch(whole.removesuffix("."))
    if (span or not _prose(whole)) and r"\boxed" not in whole and r"\fbox" not in whole:
        return whole
    found = find_expression(text)
    return whole if found is None else found.text


def _prose(text: str) -> bool:
    """Whether words stand outside of mathematics."""
    bare = re.sub(r"\\[a-zA-Z]+\s*\{[^{}]*\}|\\[a-zA-Z]+", " ", _SPAN.sub(" ", text))
    return len(re.findall(r"[A-Za-z']{2,}", bare)) >= 2 or bool(_SPAN.search(text) and re.search(r"[A-Za-z]{2,}", bare))


def _on_one_line(text: str) -> str:
    return _DISPLAY.sub(lambda match: match[0].replace("\n", " "), text)


def _of_mark(found: list[Mark], place: int, text: str) -> str | None:
    mark = found[place]
    if mark.rule != "box":
        return stated_expression(mark.passage, behind_mark=True)
    together = [mark.passage]
    for before in reversed(found[:place]):
        if before.rule != "box":
            continue
        between = text[before.end : mark.start]
        if len(between) > LONGEST_BETWEEN or not _TOGETHER.fullmatch(between) or not _SEPARATED.search(between):
            break
        together.insert(0, before.passage)
        mark = before
    distinct = list(dict.fromkeys(part for part in together if part))
    return ", ".join(distinct) or None


def _correction(rest: str, before: str) -> Found | None:
    wholly = ADMITTED.search(rest)
    taken_back = wholly or TAKEN_BACK.search(rest)
    if not taken_back:
        return None
    for sentence in reversed(sentences(rest[taken_back.start() :])):
        if (wholly or CONCLUDES.search(sentence)) and (said := stated_expression(sentence)):
            return None if said == before else Found(said, "correction")
    return None


def stated_expression(passage: str, behind_mark: bool = False) -> str | None:
    """What a sentence states, as a text: ``The sum is $17$, since ...`` states 17."""
    passage = passage[-LONGEST_SENTENCE:].replace("**", " ").replace("__", " ")
    hidden, spans = _hide(passage)
    hidden = _ASIDE.sub(" ", hidden)
    said = NEGATED.sub(" ", next(iter(sentences(hidden)), "") if behind_mark else hidden)
    said = REASON.sub("", said) if _valuable(REASON.sub("", said)) else said
    tails = [said[copula.end() :] for copula in _COPULA.finditer(said)]
    for tail in (*reversed(tails), said):
        if _valuable(tail):
            return _value_of(tail, spans, behind_mark)
    words = said.strip(" .*_\"'")
    if behind_mark and 0 < len(words) <= LONGEST_WORDS and re.search(r"\w", words):
        return words
    return None


_ASIDE = re.compile(r"\((?:since|because|as|i\.e|which|where|from|see|note)\b[^()]{0,200}\)")
_MARKER = re.compile("\ue000(\\d+)\ue001")


def _hide(passage: str) -> tuple[str, list[str]]:
    """The passage with its mathematics out of the way of sentence marks."""
    spans: list[str] = []

    def hide(match: re.Match[str]) -> str:
        inside = next(group for group in match.groups() if group is not None)
        if re.search(r"(?<![\\a-zA-Z{])[a-z]{3,}\s+[a-z]{2,}", inside) and "\\" not in inside:
            return match[0]  # "$5 and then $6": money
        spans.append(inside)
        return f"\ue000{len(spans) - 1}\ue001"

    return _SPAN.sub(hide, passage.replace("\ue000", "").replace("\ue001", "")), spans


def _valuable(text: str) -> bool:
    return bool(re.search(r"[\d\ue000½∞π]|\\[a-z]", text)) or bool(_CHOICE.fullmatch(text.strip(" .*")))


def _shown(text: str, spans: list[str]) -> str:
    return _MARKER.sub(lambda match: f" {spans[int(match[1])]} ", text).strip()


def _value_of(tail: str, spans: list[str], behind_mark: bool) -> str:
    tail = tail.strip(" .,;:*_\"'")
    if _MARKER.search(tail):
        rest = _MARKER.sub("", tail)
        if _JOINS.fullmatch(rest) or not re.search(r"[A-Za-z]{2}", rest):
            return _shown(tail, spans)
        pieces = list(_MARKER.finditer(tail))
        leading = [pieces[0]] if behind_mark or pieces[0].start() == 0 else [pieces[-1]]
        for piece in pieces[1:] if leading[0] is pieces[0] else ():
            if not _JOINS.fullmatch(tail[leading[-1].end() : piece.start()]):
                break
            leading.append(piece)
        return ", ".join(spans[int(piece[1])] for piece in leading)
    if len(re.findall(r"[A-Za-z]{2,}", re.sub(r"\\[a-zA-Z]+", "", tail))) <= 2:
        return tail
    found = stated_number(tail, behind_mark)
    return exact_text(found[0]) if found else tail
