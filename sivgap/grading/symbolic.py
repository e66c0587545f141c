r"""What `sivgap.grading.formula` does not compute (sums, integrals, products of matrices): `math-verify`, on ``$...$``.

math-verify reads bare text as prose and keeps one number of it (huggingface/Math-Verify 14, 41, 56, 82), so it is given
mathematics in dollar signs alone, without its removal of units, and must read a side as a whole.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

_COMMANDS = (
    r"\sum",
    r"\prod",
    r"\int",
    r"\lim",
    r"\begin",
    r"\gcd",
    r"\operatorname",
    r"\text{lcm}",
    r"\det",
    r"\bmod",
)


def computable(text: str) -> bool:
    """Whether it is worth asking: something is written that only sympy computes."""
    return any(command in text for command in _COMMANDS) and r"\ldots" not in text


def same_symbolically(gold: str, answer: str) -> bool:
    """Whether math-verify finds two expressions equal; False where it cannot read one as a whole."""
    from math_verify import verify

    one, other = _parsed(gold), _parsed(answer)
    return bool(one and other and verify(one, other, timeout_seconds=None))


@lru_cache(512)
def _parsed(text: str) -> list[Any]:
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse

    plainly = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=False, boxed="none")
    config = LatexExtractionConfig(normalization_config=plainly, boxed_match_priority=-1)
    text = text.replace(r"\cr ", r"\\ ")
    return list(parse(f"${text}$", [config], fallback_mode="no_fallback", parsing_timeout=None))
