"""What is kept from the parsers of mathematics: answers come from models and strangers, and may be made to hang one."""

from __future__ import annotations

import re

DEEPEST_NESTING = 30
"""Brackets within brackets; the parser recurses once or more a level."""
LONGEST_DIGITS = 100
"""Digits in a row; integers beyond are no answer and cost quadratic time."""
LARGEST_EXPONENT = 10_000
"""Exponents that are written as digits; towers of powers are refused whatever their size."""

_TOWER = re.compile(
    r"\^\s*\{[^{}]{0,99}\^|\^\s*\w{1,9}\s*\^|\*\*\s*\(?[\w\s]{1,9}\*\*|(?<!\\)!\s*\)?\s*!|\^\s*\{?\s*\(?\s*\d{1,20}!"
)


def acceptable(text: str) -> bool:
    """Whether a text may be given to the parser at all."""
    text = re.sub(r"\s+", " ", text)  # in a long run of spaces the patterns below would try every way to share it out
    depth = deepest = 0
    for character in text:
        depth += (character in "({[") - (character in ")}]")
        deepest = max(deepest, depth)
    exponents = re.findall(r"(?:\^|\*\*)\s*\{?\s*\(?\s*-?(\d+)", text)
    factorials = re.findall(r"(\d+)\s*!", text)
    return (
        deepest <= DEEPEST_NESTING
        and not re.search(rf"\d{{{LONGEST_DIGITS + 1},}}", text)
        and not _TOWER.search(text)
        and all(len(e) <= 6 and int(e) <= LARGEST_EXPONENT for e in exponents)
        and all(len(f) <= 5 and int(f) <= LARGEST_EXPONENT for f in factorials)
    )
