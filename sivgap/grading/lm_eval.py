"""GSM8K as lm-evaluation-harness grades it, to the letter, so that numbers compare with other papers.

Its filters ``strict-match`` and ``flexible-extract`` of ``gsm8k.yaml``, and its ``exact_match`` of texts: ``2.0`` is
not ``2``, the Unicode minus is lost, and flexible may return ``...`` or the 2 of ``m^2``.
"""

from __future__ import annotations

import re

INVALID = "[invalid]"
_STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
_FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
_IGNORED = tuple(re.compile(pattern) for pattern in (r",", r"\$", r"(?s).*#### ", r"\.$"))


def strict_match(response: str) -> str:
    """The first ``#### NUMBER``, or ``[invalid]``."""
    match = _STRICT.search(response)
    return match[1].strip() if match else INVALID


def flexible_extract(response: str) -> str:
    """The last run of digits and signs, or ``[invalid]``."""
    found = _FLEXIBLE.findall(response)
    return (found[-1][0] or found[-1][1]).strip() if found else INVALID


def exact_match(filtered: str, reference: str) -> bool:
    """Whether two texts are the same without ``,``, ``$``, all up to ``#### ``, and a final full stop."""
    return _without_ignored(filtered).lower() == _without_ignored(reference).lower()


def _without_ignored(text: str) -> str:
    for pattern in _IGNORED:
        text = pattern.sub("", text)
    return text
