r"""Finding the final answer in a response. Two readings, side by side:

*strict* is the format that the task asks for (``#### 18``, ``\boxed{18}``, a text that ends in ``Answer: 18``); for
GSM8K it is lm-evaluation-harness's ``strict-match`` filter to the letter, so that numbers compare with other papers.
*flexible* is what a person would read as the answer, however it is written. The gap between the two is format, not
ability.
"""

from __future__ import annotations

import re

from sivgap.grading.number import NUMBER, WORDS

LONGEST_RESPONSE = 20_000
"""Characters from the end of a response that are read; an answer stands at the end, and patterns stay fast."""

_STRICT_GSM8K = re.compile(r"#### (\-?[0-9\.\,]+)")
_MARKED = [
    re.compile(r"####?\s*(?P<rest>[^\n]{1,200})"),
    re.compile(r"<answer>(?P<rest>[^<\n]{1,200})"),
    re.compile(r"(?i)\banswer\b[^\n\d\\.=−-]{0,40}?(?:is|:|=)\s*(?P<rest>[^\n]{1,200})"),
]
_CONCLUSION = re.compile(r"(?i)\b(?:therefore|thus|hence|so)\b(?P<rest>[^\n=]{1,200})$")
_NOT_A_VALUE = re.compile(r"(?i)(?:\bstep\s*|\^\s*\{?)$")


def last_boxed(text: str) -> str | None:
    r"""Content of the last ``\boxed{...}`` or ``\boxed x``; None if there is none or it never closes."""
    start = max(text.rfind(r"\boxed"), text.rfind(r"\fbox"))
    if start < 0:
        return None
    rest = text[start:].split("boxed", 1)[-1] if text.startswith(r"\boxed", start) else text[start + 5 :]
    if not rest.lstrip().startswith("{"):
        word = re.match(r"\s+([^\s$.,;]+)", rest)
        return word[1] if word else None
    rest, depth = rest.lstrip(), 0
    for i, character in enumerate(rest):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return rest[1:i].strip()
    return None


def strict_gsm8k(response: str) -> str | None:
    """lm-evaluation-harness's ``strict-match``: the first ``#### NUMBER``."""
    match = _STRICT_GSM8K.search(response)
    return match[1] if match else None


def strict_arithmetic(response: str) -> str | None:
    """The integer of a response that ends in ``Answer: INTEGER``."""
    match = re.search(r"Answer: (-?\d{1,12})\s*$", response)
    return match[1] if match else None


def final_number(response: str) -> str | None:
    """The number that a person reads as the answer: behind a mark, else boxed, else concluded, else the last one."""
    text = response[-LONGEST_RESPONSE:].replace("−", "-").replace("**", "").strip()
    for marked in _MARKED:
        matches = list(marked.finditer(text))
        if matches:
            found = _first_number(matches[-1]["rest"])
            if found is not None:
                return found
    boxed = last_boxed(text)
    if boxed is not None and (found := _first_number(boxed)) is not None:
        return found
    last_line = text.rsplit("\n", 1)[-1]
    conclusion = _CONCLUSION.search(last_line)
    if conclusion and (found := _first_number(conclusion["rest"])) is not None:
        return found
    numbers = _numbers(text)
    return numbers[-1] if numbers else None


def _first_number(text: str) -> str | None:
    numbers = _numbers(re.sub(r"^\s*\([A-Za-z]\)", "", text))
    if numbers:
        return numbers[0]
    word = re.match(r"\W*(?:\w+\W+){0,2}?(" + "|".join(WORDS) + r")\b", text.lower())
    return word[1] if word else None


def _numbers(text: str) -> list[str]:
    return [
        re.sub(r"(?<=^-)\s+", "", match[0].lstrip("$ ").strip())
        for match in NUMBER.finditer(text)
        if not _NOT_A_VALUE.search(text[max(0, match.start() - 12) : match.start()])
    ]
