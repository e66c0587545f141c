"""A reading of a mathematical answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sivgap.grading.number import Number

Kind = Literal[
    "number", "expression", "tuple", "interval", "union", "set", "assignment", "equation", "relation", "matrix", "text",
    "time", "base", "unread",
]  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """A reading.

    Attributes:
        kind: Its type.
        text: The answer, or this part of it, as `spell` leaves it; of a text its normal form.
        parts: Elements, sides, or rows.
        number: Of a number.
        sign: Brackets, the relation, the base, or a name: what else must agree.
        unit: Behind a number or an expression, where one is written.
    """

    kind: Kind
    text: str
    parts: tuple[Answer, ...] = ()
    number: Number | None = None
    sign: str = ""
    unit: str = ""
