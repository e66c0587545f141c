"""Which answers are one answer, where votes are counted: by the grader's equality, in a canonical form that is a hash.

``18``, ``18.``, ``18.00`` and ``36/2`` have one key, so have ``\\frac{1}{2}`` and ``0.5``, ``Paris.`` and ``Paris``. A
key costs one reading of an answer, so that N answers cost N readings, not N squared comparisons. What cannot be read is
compared as it is written.
"""

from __future__ import annotations

from functools import lru_cache

from sivgap.grading.compare import reading
from sivgap.grading.keys import key
from sivgap.grading.latex import LONGEST_ANSWER
from sivgap.grading.limits import acceptable

KEY = "="
"""What keys begin with, and answers do not."""


@lru_cache(65_536)
def vote_key(answer: str) -> str:
    """The canonical form of an answer; of a key itself, the key. Computes formulas, but never sympy: it cannot hang."""
    if answer.startswith(KEY):
        return answer
    try:
        read = reading(answer) if acceptable(answer[-LONGEST_ANSWER:]) else None
        return KEY + (f"?{' '.join(answer.split())}" if read is None else key(read))
    except (RecursionError, ValueError, ArithmeticError):
        return f"{KEY}?{' '.join(answer.split())}"
