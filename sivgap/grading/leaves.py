r"""Answers without parts: a number with its unit, a time, a number in another base, words, an expression."""

from __future__ import annotations

import re

from sivgap.grading.answer import Answer
from sivgap.grading.number import Number, read_number

_TIME = re.compile(r"(?i)(\d{1,2}):(\d{2})(?::(\d{2}))?\s*(?:\\text\{)?\s*([ap])?\.?\s*(?:m\.?)?\s*\}?")
_BASES = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10", "twelve": "12", "sixteen": "16",
}  # fmt: skip
_BASE = re.compile(r"\(?([0-9A-F]{1,60})\)?\s*_\s*\{?\s*(?:\\text\{\s*)?(?:base\s*\}?\s*)?(\d{1,2}|[a-z]+)\s*\}?\s*\}?")
TEXT = re.compile(r"\\text\{([^{}]*)\}")
AND = re.compile(
    r"(?i)\\text\{\s*,?\s*(?:and|or|\\&|&|and also|or else)\s*,?\s*\}|(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])|(?<!\\)&"
)
_WORDS = re.compile(r"[A-Za-z][A-Za-z'.-]*(?: [A-Za-z0-9][A-Za-z0-9'.-]*)*")
_MIXED = re.compile(r"(?<![\d\w}.)])(\d{1,9})\s*\\frac\{(\d{1,9})\}\{(\d{1,9})\}(?![\w])")
_UNITS = (
    re.compile(r"(?<=[\w)}\]%])\s*\\text\{([^{}]*)\}\s*(?:\^\s*\{?\d\}?)?$"),
    re.compile(r"(?<=[\d})%])\s+([A-Za-z][A-Za-z.]+(?:[ /][A-Za-z.]+){0,4})(?:\^\{?\d\}?)?$"),
    re.compile(r"(?<=\d)(cm|mm|km|kg|mL|ml|ft|mph|lbs?|in|m|g)\^\{?\d\}?$"),
    re.compile(r"(?<=\d)(cm|mm|km|kg|mL|ml|ft|mph|lbs?)$"),
)
_NO_UNIT = re.compile(r"(?i)(?:and|or|if|for|when|where)\b|[&,]|$")


def read_time(text: str) -> Answer | None:
    """``12:30``, ``3:30 p.m.``"""
    match = _TIME.fullmatch(text)
    if match is None or int(match[1]) > 24 or int(match[2]) > 59:
        return None
    half = (match[4] or "").lower()
    return Answer("time", f"{int(match[1])}:{match[2]}:{match[3] or '00'}", sign=half)


def read_base(text: str) -> Answer | None:
    r"""``204_5``, ``(1010)_2``, ``204_{\text{five}}``: its digits and its base."""
    match = _BASE.fullmatch(text)
    base = _BASES.get(match[2], match[2]) if match else ""
    if match is None or not base.isdigit() or not 2 <= int(base) <= 36 or match[1].isalpha():
        return None
    return Answer("base", match[1].lstrip("0") or "0", sign=base)


def read_plain(text: str) -> Answer | None:
    """A number alone, with or without its unit."""
    bare, unit = without_unit(text)
    number = _plain_number(bare)
    if number is None and (words := TEXT.fullmatch(text)):
        number = read_number(words[1], units=False)
    if number is None:
        return None
    return Answer("number", bare, number=number, unit=unit)


def _plain_number(text: str) -> Number | None:
    """A number; but ``3!`` is a factorial, ``5k`` a product, and ``(12,102)`` a pair."""
    return None if re.search(r"!$|\d\s?[kK]$|^[(\[{].*,", text) else read_number(text, units=False)


def without_unit(text: str) -> tuple[str, str]:
    r"""A text without the unit behind it, and the unit: ``10\text{ cm}^2``, ``5 apples``, ``74^\circ``."""
    unit = ""
    for pattern in _UNITS:
        match = pattern.search(text)
        if match and not _NO_UNIT.match(match[1].strip()):
            unit, text = match[1].strip(), text[: match.start()].strip()
            break
    if re.match(r"(?i)per ?cent", unit):
        return text + r"\%", ""
    if text.endswith(r"^\circ") and not re.search(r"\\(?:sin|cos|tan|cot|sec|csc)", text):
        return text[: -len(r"^\circ")].strip(), unit or "degrees"
    return text, unit


def read_words(text: str) -> Answer | None:
    r"""An answer in words: ``\text{Evelyn}``, ``even``, ``(B)``; a single letter alone is an expression."""
    choice = re.fullmatch(r"(?:\\text\{\s*)?\(\s*(?:\\text\{)?([A-Za-z])\}?\s*\)\s*\}?", text)
    if choice:
        return Answer("text", choice[1].lower(), sign="choice")
    bare = TEXT.sub(lambda match: f" {match[1]} ", text)
    if "\\" in bare.replace(r"\&", "") or re.search(r"[=<>^_{}|+*/]", bare):
        return None
    bare = " ".join(bare.split())
    only_text = TEXT.fullmatch(text) is not None or (
        "\\text" in text and not re.search(r"\\text\{\s*(?:and|or)\b", text)
    )
    if not (only_text or (_WORDS.fullmatch(bare) and re.search(r"[A-Za-z]{2}", bare) and not AND.search(bare))):
        return None
    if only_text and AND.search(bare) and "," in bare:
        return None
    return Answer("text", words_form(bare))


def words_form(text: str) -> str:
    """Lower case, without punctuation, articles and needless spaces."""
    text = re.sub(r"(?<!\d),|,(?!\d)", " and ", text)
    text = re.sub(r"[^\w\s+#%$-]", " ", text.lower().replace("'", ""))
    text = re.sub(r"\band(?:\s+and)+\b", "and", text)
    text = re.sub(r"\b(?:the|an?)\s+(?=[a-z]{2})(?!and\b)", "", re.sub(r"(?<!\w)-|-(?!\w)", " ", text))
    return " ".join(text.split())


def read_expression(text: str) -> Answer:
    bare, unit = without_unit(text)
    bare = _MIXED.sub(_mixed, bare)
    number = _plain_number(bare)
    if number is not None:
        return Answer("number", bare, number=number, unit=unit)
    if r"\text" in bare or r"\ldots" in bare:
        return Answer("unread", tight_text(text))
    return Answer("expression", bare, unit=unit)


def _mixed(match: re.Match[str]) -> str:
    return f"({match[1]}+\\frac{{{match[2]}}}{{{match[3]}}})" if int(match[2]) < int(match[3]) else match[0]


def tight_text(text: str) -> str:
    return re.sub(r"\s+", "", TEXT.sub(lambda match: match[1], text)).lower()
