"""Numbers as they stand in answers, read exactly."""

from __future__ import annotations

import re
from fractions import Fraction

LONGEST_NUMBER = 200
"""Characters; a longer one is no answer to any of the tasks, and exact arithmetic on it costs time."""
LARGEST_EXPONENT = 300

WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)

_DIGITS = r"(?:\d{1,3}(?:,\d{3})++(?![\d,])|\d{1,200})(?:\.\d{1,200})?|\.\d{1,200}"
NUMBER = re.compile(
    rf"\\[dt]?frac\{{-?\d{{1,50}}\}}\{{\d{{1,50}}\}}|"
    rf"(?:(?<![\d\w)])-\s?)?\$?\s?(?:{_DIGITS})"
    rf"(?:\s?(?:x|\\times|×|\*)\s?10\^\{{?-?\d{{1,3}}\}}?|[eE]-?\d{{1,3}}\b|/\d{{1,50}})?"
)
"""A number: digits with or without thousands separators, a fraction, a power of ten, a dollar sign before it."""


def to_fraction(text: str) -> Fraction | None:
    """The exact value of a number, or None: ``1,234.50``, ``3/4``, ``\\frac{3}{4}``, ``1.5 x 10^3``, ``seven``."""
    text = text.strip().lower().rstrip(".")
    if len(text) > LONGEST_NUMBER:
        return None
    if text in WORDS:
        return Fraction(WORDS.index(text))
    text = re.sub(r"[\s$,{}]|\\!", "", re.sub(r"\\[dt]?frac\{(-?\d+)\}\{(\d+)\}", r"\1/\2", text))
    # Every exponent comes this way: Fraction itself would write out 1e+999999999.
    power = re.fullmatch(r"([+-]?[\d._]+)(?:(?:x|\\times|×|\*)10\^|e)([+-]?[\d_]+)", text)
    try:
        if power:
            exponent = int(power[2])
            return Fraction(power[1]) * Fraction(10) ** exponent if abs(exponent) <= LARGEST_EXPONENT else None
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None
