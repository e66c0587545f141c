"""TF: the model says whether its response is correct, True or False (SV, Section 3 and appendix)."""

from __future__ import annotations

import re

_VERDICT = re.compile(r"\b(true|false)\b", re.IGNORECASE)


def parse_verdict(text: str) -> float | None:
    """1 for True, 0 for False; None where neither or both are said."""
    said = {word.lower() for word in _VERDICT.findall(text)}
    return None if len(said) != 1 else float(said == {"true"})
