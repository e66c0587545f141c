"""Numbers written as English words: ``twenty-five``, ``seven hundred``, ``two dozen``, ``three quarters``."""

from __future__ import annotations

import re
from fractions import Fraction

_UNITS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_VALUES = {word: value for value, word in enumerate(_UNITS)} | {
    word: 10 * value for value, word in enumerate(_TENS, start=2)
}
SCALES = {
    "dozen": 12,
    "score": 20,
    "hundred": 100,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
_PARTS = {
    "half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fourth": 4, "fourths": 4,
    "fifth": 5, "fifths": 5, "sixth": 6, "sixths": 6, "seventh": 7, "sevenths": 7, "eighth": 8, "eighths": 8,
    "ninth": 9, "ninths": 9, "tenth": 10, "tenths": 10, "hundredth": 100, "hundredths": 100,
}  # fmt: skip
WORD = re.compile(r"(?i)(?<![\w-])(?:" + "|".join([*_VALUES, "half(?=\\s+(?:a|an)\\s)", "a(?=\\s+dozen)"]) + r")\b")
"""Where a number written as a word begins."""
_TOKEN = re.compile(r"[\s-]*([A-Za-z]+)")
_MOST_WORDS = 20


def words_value(text: str) -> tuple[Fraction, str, int] | None:
    """The number that a text begins with, what follows it, and its length in characters."""
    words: list[str] = []
    ends, at = [0], 0
    while len(words) < _MOST_WORDS and (match := _TOKEN.match(text, at)):
        words.append(match[1].lower())
        at = match.end()
        ends.append(at)
    taken, value = _read(words)
    return None if value is None else (value, text[ends[taken] :], ends[taken])


def _read(words: list[str]) -> tuple[int, Fraction | None]:
    """How many of the words make a number, and which."""
    if words[:1] == ["half"] and words[1:2] in (["a"], ["an"]) and words[2:3] and words[2] in SCALES:
        return 3, Fraction(SCALES[words[2]], 2)  # half a dozen
    if words[:1] == ["half"]:
        return 1, Fraction(1, 2)
    if words[:1] in (["a"], ["an"], ["one"]) and words[1:2] and words[1] in _PARTS:
        return 2, Fraction(1, _PARTS[words[1]])
    at, value = _whole(words)
    if value is None:
        return 0, None
    if words[at : at + 1] and words[at] in _PARTS and (value > 1 or words[at].endswith("f")):
        return at + 1, Fraction(value, _PARTS[words[at]])  # three quarters
    if words[at : at + 1] == ["and"] and words[at + 1 : at + 2] in (["a"], ["an"], ["one"]):
        part = _PARTS.get(words[at + 2]) if len(words) > at + 2 else None
        if part:
            return at + 3, value + Fraction(1, part)  # two and a half
    if words[at : at + 1] == ["and"]:
        more, part_value = _read(words[at + 1 :])
        if part_value is not None and 0 < part_value < 1:
            return at + 1 + more, value + part_value  # three and three quarters
    return at, Fraction(value)


def _begins_scale(words: list[str], at: int) -> bool:
    """The a of ``a dozen``."""
    return at == 0 and words[0] in ("a", "an") and len(words) > 1 and words[1] in SCALES


def _joins(words: list[str], at: int) -> bool:
    """The and of ``two hundred and five``."""
    return words[at] == "and" and at + 1 < len(words) and words[at + 1] in _VALUES and words[at - 1] in SCALES


def _whole(words: list[str]) -> tuple[int, int | None]:
    total, group, at, seen = 0, 0, 0, False
    last = 10**15
    while at < len(words):
        word = words[at]
        if word in _VALUES:
            value = _VALUES[word]
            if seen and not (group % 100 == 0 or (group % 10 == 0 and 0 < value < 10 and group % 100 >= 20)):
                break
            group, seen = group + value, True
        elif word in SCALES and (seen or (at > 0 and words[at - 1] in ("a", "an"))):
            scale = SCALES[word]
            group = max(group, 1)
            if scale <= 100:
                group, seen = group * scale, True
            elif scale < last:
                total, group, last, seen = total + group * scale, 0, scale, True
            else:
                break
        elif not (_begins_scale(words, at) or (seen and _joins(words, at))):
            break
        at += 1
    return (at, total + group) if seen else (0, None)
