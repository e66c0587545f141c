"""Verdicts that follow a justification: read from a fixed last line (MG Appendix C).

``cot_binary`` ends in ``Correctness: Correct`` or ``Incorrect``, ``cot_score`` in ``Score: 7`` of 1 to 10,
``tournament`` in ``Preferred solution: A`` or ``B``. The last such line counts; stars and case do not.
"""

from __future__ import annotations

import re

_CORRECTNESS = re.compile(r"correctness\s*:\s*(correct|incorrect)\b", re.IGNORECASE)
_SCORE = re.compile(r"score\s*:\s*(\d{1,3})(?![\d.]*\d)(?:\s*/\s*10\b)?(?!\s*[/%])", re.IGNORECASE)
_PREFERRED = re.compile(r"preferred solution\s*:\s*(?:solution\s*)?[(\[]?([AB12])\b", re.IGNORECASE)

LONGEST_VERDICT = 2_000
"""Characters from the end that are read: the verdict is the last line."""


def parse_correctness(text: str) -> float | None:
    """1 for Correct, 0 for Incorrect; bare words too, as ``mc`` answers. None where nothing of the kind is said."""
    bare = _plain(text).strip(" .\n")
    said = bare if bare.lower() in ("correct", "incorrect") else _last(_CORRECTNESS, text)
    return None if said is None else float(said.lower() == "correct")


def parse_grade(text: str) -> float | None:
    """A score of 1 to 10 as a tenth of it: ``Score: 7`` is .7. None outside that range."""
    said = _last(_SCORE, text)
    return None if said is None or not 1 <= int(said) <= 10 else int(said) / 10


def parse_preference(text: str) -> float | None:
    """1 where the first solution is preferred, 0 where the second is."""
    bare = _plain(text).strip(" .\n")
    said = bare if bare in ("A", "B") else _last(_PREFERRED, text)
    return None if said is None else float(said.upper() in "A1")


def _plain(text: str) -> str:
    return text[-LONGEST_VERDICT:].replace("*", "").replace("_", " ")


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.findall(_plain(text))
    return found[-1] if found else None
