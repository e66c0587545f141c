"""QE: the model says how good its response is, as a number between 0 and 1 (SV, Section 3 and appendix)."""

from __future__ import annotations

import re

_SCORE = re.compile(r"(?<![\d.])(?:0?\.\d{1,12}|[01](?:\.\d{1,12})?)(?![\d.]*\d)")


def parse_score(text: str) -> float | None:
    """The first number of an answer if it lies in [0, 1], else None: ``0.8``, ``Score: 1``; but not ``8/10``."""
    first = re.search(r"-?\d*\.?\d+", text)
    if first is None or first[0].startswith("-"):
        return None
    match = _SCORE.match(text, first.start())
    if match is None or text[match.end() : match.end() + 1] in ("/", "%"):
        return None
    value = float(match[0])
    return value if 0 <= value <= 1 else None
