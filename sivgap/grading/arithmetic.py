"""The value of a sum written out instead of its result: ``24 ÷ 2``, ``5 + 7``, ``10^3``; exact, and nothing else."""

from __future__ import annotations

import re
from fractions import Fraction

LONGEST_SUM = 80
"""Characters."""
LARGEST_POWER = 30

_TOKEN = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+|[-+*/^()])")
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "x": "*", "X": "*", "$": " ", "€": " ", "£": " "})


def value_of_sum(text: str) -> Fraction | None:
    """The value of numbers joined by ``+ - * / ^`` and brackets; None for anything else, one number included."""
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text.strip().rstrip(".")).translate(_SIGNS).replace("**", "^")
    if len(text) > LONGEST_SUM or not re.search(r"\d\s*\)*\s*[-+*/^]\s*\(*\s*[-$\d.]", text):
        return None
    pieces, at = [], 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            return None
        pieces.append(match[1])
        at = match.end()
    try:
        value, rest = _sum(pieces)
    except (IndexError, ValueError, ZeroDivisionError, RecursionError):
        return None
    return None if rest else value


def _sum(pieces: list[str]) -> tuple[Fraction, list[str]]:
    value, rest = _product(pieces)
    while rest and rest[0] in "+-":
        other, after = _product(rest[1:])
        value, rest = (value + other, after) if rest[0] == "+" else (value - other, after)
    return value, rest


def _product(pieces: list[str]) -> tuple[Fraction, list[str]]:
    value, rest = _power(pieces)
    while rest and rest[0] in "*/(":
        if rest[0] == "(":
            other, rest = _power(rest)
            value *= other
            continue
        other, after = _power(rest[1:])
        value, rest = (value * other, after) if rest[0] == "*" else (value / other, after)
    return value, rest


def _power(pieces: list[str]) -> tuple[Fraction, list[str]]:
    value, rest = _atom(pieces)
    if rest and rest[0] == "^":
        exponent, rest = _atom(rest[1:])
        if exponent.denominator != 1 or abs(exponent) > LARGEST_POWER:
            raise ValueError("an exponent too large")
        value = Fraction(value ** int(exponent))
    return value, rest


def _atom(pieces: list[str]) -> tuple[Fraction, list[str]]:
    first, rest = pieces[0], pieces[1:]
    if first == "-":
        value, rest = _atom(rest)
        return -value, rest
    if first == "(":
        value, rest = _sum(rest)
        if rest[0] != ")":
            raise ValueError("a bracket that does not close")
        return value, rest[1:]
    return Fraction(first), rest
