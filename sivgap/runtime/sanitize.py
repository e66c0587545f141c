"""Text of strangers on its way to a reader: nothing in it moves the cursor, turns the line round, or is a formula."""

from __future__ import annotations

import unicodedata

_KEPT = "\t\n"
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of Unicode that a terminal or a browser obeys rather than shows: controls (escape sequences begin with
one), formats (those that turn the direction of writing), half characters, separators of lines."""

_JOINERS = "\u200c\u200d"
"""Formats that languages and emoji are spelt with; they join letters, and do nothing else."""

_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the beginning of a formula; some take the wide forms, too."""


def sanitize(text: str) -> str:
    """`text` with what cannot be seen written out: an escape character becomes ``\\x1b``."""
    if text.isprintable():  # nearly always
        return text
    return "".join(c if c in _KEPT or c in _JOINERS or not _unseen(c) else _written_out(c) for c in text)


def no_formula(text: str) -> str:
    """`text`, with an apostrophe before it where a spreadsheet would calculate it; leading space does not stop one."""
    bare = text.lstrip()
    return f"'{text}" if bare.startswith(_FORMULA) or text.startswith(("\t", "\r", "\n")) else text


def _unseen(character: str) -> bool:
    return unicodedata.category(character) in _UNSEEN


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
