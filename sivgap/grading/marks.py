r"""Where a response says its final answer in so many words: a box, ``####``, ``<answer>``, "The answer is", "Answer:".

The last one counts, whatever its kind: who corrects himself comes last. A heading (``### Step 2``), a remark about the
answer ("my answer is based on ...") or about another case ("if it were 10, the answer would be 82") is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MOST_MARKS = 30
"""Marks of a kind that are looked at, from the end."""
LONGEST_PASSAGE = 600
"""Characters behind a mark that are read."""


@dataclass(frozen=True)
class Mark:
    """One explicit answer: its `rule`, where it begins and ends, and the text that says it.

    `opens` where nothing stands before it: such an ``Answer:`` may be the heading of a whole solution.
    """

    rule: str
    start: int
    end: int
    passage: str
    opens: bool = False


_BOX = re.compile(r"(?:\\|\x08)?(?:\b|(?<=\x08))(?:boxed|oxed|fbox|framebox)\s*(?=\{)|\\(?:boxed|fbox)\s+(?=[^\s{])")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_HASHES = re.compile(r"(?m)(?:^|(?<=[\s.*]))#{4}#*(?!#)[ \t]*(?P<rest>[^\n]{1,600})")
_NUMBER_LINE = re.compile(r"(?m)^[ \t]*#{1,3}[ \t]+(?P<rest>-?[$€£]?\d[\d,.]*[ \t]*%?)[ \t]*$")
_HEADING = re.compile(
    r"^[*_\s]*(?:\d{1,2}[.):]\s*[A-Za-z*_]|(?:step|part|case|method|solution|explanation|conclusion|calculation|example"
    r"|question|problem|task|note|check|verification|understanding|given|first|next|then|now)\b|[^\n]*:\s*[*_]*$)",
    re.IGNORECASE,
)
_TAG = re.compile(
    r"(?is)<(?:final_?)?answer>\s*(?P<rest>.{1,600}?)\s*(?=</(?:final_?)?answer>|<(?:final_?)?answer>|\n\s*\n|\Z)"
)
_WHAT = r"(?:answers?|ans|final (?:result|solution|value|output|count|total|price|cost|amount)|result)"
_IS = (
    r"(?:is|are|was|were|would(?: then)? be|would have been|will be|should be|must be|has to be|can be|might be"
    r"|turns out to be|equals?"
    r"|comes (?:out )?to|becomes|remains)"
)
_SAYS = re.compile(
    rf"(?i)(?<![\w<\\/-])(?P<what>{_WHAT})\b(?P<between>[*_\"'’)\]]{{0,4}}(?:[^\n.:=$\\]{{0,80}}?[*_ \t])??)"
    rf"(?:(?P<is>\b{_IS}\b(?:[ \t]+(?:equal to|given by|found to be)\b)*)(?:\*\*|__)?[ \t]*[:=]?"
    r"|(?P<colon>[:：=]|→|->|=>|[-–—](?=[ \t]+[-$\d\\(])))(?:\*\*|__|[*_\"](?=[\w$\\]))?[ \t]*"
)
_SHORT_MARK = re.compile(r"(?m)^[ \t>*_]{0,6}A[*_]{0,2}[ \t]?[:：][*_]{0,2}[ \t]*")
_OTHER_LANGUAGE = re.compile(r"(?:最终)?答案(?:应该)?(?:是|为)?\s?[:：]?\s*")
_HEADING_LINE = re.compile(
    rf"(?im)^[ \t#*_>]{{0,12}}(?:the +)?(?:final +"
    rf"|correct +)?{_WHAT}[*_ \t]{{0,6}}[:.]?[*_]{{0,4}}[ \t]{{0,20}}(?:\n|(?=\\\[|\$))"
)
_REFUSED = re.compile(
    r"(?i)[\s*_\"']*(?:based (?:up)?on\b|already\b|because\b|that we\b|what we\b|in the form\b|as follows\s*:?\s*$"
    r"|(?:expressed|given|rounded|determined|limited|obtained|derived|found) (?:in|as|by|to|from)\b|a number and\b"
    r"|subject to\b|yes or no\b)"
)
_JUDGED = re.compile(
    r"(?i)[\s*_\"']*(?:in|un)?(?:correct|right|wrong|valid|reasonable|clear|confirmed|plausible|consistent"
    r"|verified|available|helpful|useful)"
    r"(?=\s*(?:[.,;!)]|$|and\b|because\b|since\b|as\b|with\b))"
)
_ABOUT = re.compile(
    r"(?i)\b(?:format|check|checking|verify|verification|choices?|options?|key|sheet|is not|isn't|wasn't|part of)\b"
)
_SUPPOSED = re.compile(r"(?i)(?:^|[.!?\n]\s*)[^.!?\n]*\b(?:if|had|were|suppose|supposing|otherwise|unless)\b[^.!?\n]*$")
_WRONG_BEFORE = re.compile(
    r"(?i)\b(?:wrong|incorrect|previous|original|earlier|initial|first|your|not the|not my)[ \t]+$"
)


def boxes(text: str) -> list[Mark]:
    r"""All that is boxed: ``\boxed{...}``, ``\boxed x``, ``\fbox{...}``; a box that never closes is none."""
    found, ends = [], closings(text)
    for match in _BOX.finditer(text):
        at = match.end()
        if text[at : at + 1] != "{":
            word = re.match(r"[^\s$.,;\\]{1,100}|\\[a-zA-Z]+(?:\{[^{}]{0,100}\}){0,2}", text[at : at + 400])
            if word:
                found.append(Mark("box", match.start(), at + word.end(), word[0]))
        elif at in ends:
            found.append(Mark("box", match.start(), ends[at] + 1, text[at + 1 : ends[at]].strip()))
    return found


def closings(text: str) -> dict[int, int]:
    """Where each brace that opens closes, where it does; escaped braces do not count."""
    opened: list[int] = []
    found = {}
    for match in _BRACE.finditer(text):
        if match[0] == "{":
            opened.append(match.start())
        elif match[0] == "}" and opened:
            found[opened.pop()] = match.start()
    return found


def closing(text: str, opening: int) -> int | None:
    """Where the brace at `opening` closes."""
    depth = 0
    for match in _BRACE.finditer(text, opening):
        depth += (match[0] == "{") - (match[0] == "}")
        if depth == 0:
            return match.start()
    return None


def marks(text: str, judged: bool = True) -> list[Mark]:
    """All explicit answers of a text, in order; with `judged`, "the answer is right" judges an answer and is none."""
    boxed = list(_outermost(boxes(text)))
    inside = [range(box.start + 1, box.end) for box in boxed]
    said = [*_hashes(text), *_tags(text), *_phrases(text, judged)]
    found = [*boxed, *(mark for mark in said if not any(mark.start in box for box in inside))]
    return sorted(found, key=lambda mark: (mark.start, mark.end))


def _outermost(found: list[Mark]) -> Iterator[Mark]:
    end = 0
    for mark in found:
        if mark.start >= end:
            yield mark
            end = mark.end


def _hashes(text: str) -> Iterator[Mark]:
    for match in (*_HASHES.finditer(text), *_NUMBER_LINE.finditer(text)):
        if not _HEADING.match(match["rest"]):
            yield Mark("####", match.start(), match.end(), match["rest"])


def _tags(text: str) -> Iterator[Mark]:
    for match in _TAG.finditer(text):
        yield Mark("<answer>", match.start(), match.end(), match["rest"])


def _phrases(text: str, judged: bool) -> Iterator[Mark]:
    for match in (*list(_SAYS.finditer(text))[-MOST_MARKS:], *list(_HEADING_LINE.finditer(text))[-MOST_MARKS:]):
        says = match.re is _SAYS
        before = text[max(0, match.start() - 200) : match.start()]
        if _WRONG_BEFORE.search(before) or (says and _ABOUT.search(match["between"])):
            continue
        passage = _passage(text, match.end())
        if says and match["is"] and (_REFUSED.match(passage) or (judged and _JUDGED.match(passage))):
            continue
        if says and match["is"] and match["is"].startswith(("would", "could", "might", "was", "were")):
            sentence = before + match["between"]
            if _SUPPOSED.search(sentence) or re.search(r"(?i)\bif\b", passage.split(".")[0]):
                continue
        rule = '"answer is"' if says and match["is"] else '"Answer:"'
        opens = rule == '"Answer:"' and _opens(text, match.start())
        yield Mark(rule, match.start(), match.end() + len(passage), passage, opens)
    for pattern in (_SHORT_MARK, _OTHER_LANGUAGE):
        for match in list(pattern.finditer(text))[-MOST_MARKS:]:
            passage = _passage(text, match.end())
            yield Mark('"Answer:"', match.start(), match.end() + len(passage), passage, _opens(text, match.start()))


def _opens(text: str, place: int) -> bool:
    """Whether nothing stands before a mark, or no more than "The final"."""
    return place < 40 and not re.search(r"\w", re.sub(r"(?i)the|final|correct", "", text[:place]))


def _passage(text: str, start: int) -> str:
    """What stands behind a mark: the rest of its line, or of the first line with something on it."""
    line = re.compile(r"(?:[^\S\n]{0,40}(?:(?:[*_]{1,3}|\$\$|\\\[)[^\S\n]{0,40})?\n){0,4}").match(text, start)
    begin = line.end() if line else start
    opened = re.search(r"(\$\$|\\\[)\s*\Z", text[start:begin])
    if opened or re.match(r"\s*(?:\\\[|\$\$)", text[begin : begin + 20]):
        end = re.compile(r"\\\]|\$\$(?=\s*(?:\n|\.|\Z))").search(text, begin + 4, begin + LONGEST_PASSAGE)
        if end:
            return text[start : end.end()]
    newline = text.find("\n", begin)
    stop = min(newline if newline >= 0 else len(text), begin + LONGEST_PASSAGE)
    return text[start:stop]
