r"""A formula of LaTeX, as `spell` leaves it, computed at a point by recursive descent; sympy is not asked."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import mpmath

DIGITS = 50
_CANCELLED = mpmath.mpf(10) ** -43
LARGEST_POWER = 10**6
LONGEST_FORMULA = 600
"""Tokens."""
Value: TypeAlias = Any  # a real or complex number of mpmath, which has no types


class UnreadableError(Exception):
    """A text is no formula that is read here."""


_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?|\.\d+)|(?P<text>\\text\{[^{}]*\})|(?P<command>\\[a-zA-Z]+|\\[{}|%])"
    r"|(?P<letter>[a-zA-Z])|"
    r"(?P<sign>\^\\circ|[-+*/^_(){}\[\]|!',<>=]))"
)
_GREEK = {
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu",
    "xi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega", "Gamma", "Delta",
    "Theta", "Lambda", "Xi", "Sigma", "Phi", "Psi", "Omega", "ell", "angle",
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[[Value], Value]] = {
    "sin": mpmath.sin, "cos": mpmath.cos, "tan": mpmath.tan, "cot": mpmath.cot, "sec": mpmath.sec, "csc": mpmath.csc,
    "arcsin": mpmath.asin, "arccos": mpmath.acos, "arctan": mpmath.atan, "sinh": mpmath.sinh, "cosh": mpmath.cosh,
    "tanh": mpmath.tanh, "ln": mpmath.log, "exp": mpmath.exp, "Re": mpmath.re, "Im": mpmath.im,
}  # fmt: skip
_ANGLES = ("sin", "cos", "tan", "cot", "sec", "csc")
_SEVERAL: dict[str, Callable[..., Value]] = {"max": max, "min": min}
_APPLIED = "fghFGHPQ"


def point_of(symbol: str, point: int) -> Value:
    """Where a variable stands at a point: between 0 and 1, between 1 and 3, and below 0; the same for the same name."""
    share = mpmath.mpf(zlib.crc32(f"{symbol}/{point}".encode()) % 9_999_991 + 7) / 10_000_019
    return (share * 0.9 + 0.05, 1 + 2 * share, -0.2 - 1.6 * share)[point % 3]


class FormulaReader:
    """Reads one formula at one point, by recursive descent."""

    def __init__(self, text: str, point: int) -> None:
        self.pieces, self.at, self.point = _tokens(text), 0, point
        self.symbols: set[str] = set()
        self.outside = self.angle = False

    def read(self) -> Value:
        value = self.sum()
        if self.at < len(self.pieces):
            raise UnreadableError(f"{self.pieces[self.at]!r} is not understood")
        return value

    @property
    def next(self) -> str:
        return self.pieces[self.at] if self.at < len(self.pieces) else ""

    def take(self) -> str:
        if self.at >= len(self.pieces):
            raise UnreadableError("it ends too early")
        self.at += 1
        return self.pieces[self.at - 1]

    def expect(self, piece: str) -> None:
        if self.take() != piece:
            raise UnreadableError(f"expected {piece!r}")

    def sum(self) -> Value:
        value = self.product()
        while self.next in ("+", "-"):
            value = _added(value, self.product() if self.take() == "+" else -self.product())
        return value

    def product(self) -> Value:
        value = self.signed()
        while True:
            if self.next in ("*", r"\cdot", r"\times"):
                self.take()
                value = value * self.signed()
            elif self.next in ("/", r"\div"):
                self.take()
                value = value / self.signed()
            elif self.next == r"\%":
                self.take()
                value = value / 100
            elif self.begins_factor():
                value = value * self.power()
            else:
                return value

    def begins_factor(self) -> bool:
        piece = self.next
        return bool(piece) and (piece[0].isalnum() or piece[0] in "({[." or (piece == "|" and not self.bars)
                                or (piece[0] == "\\" and piece not in _NO_FACTOR))  # fmt: skip

    bars = 0

    def signed(self) -> Value:
        if self.next == "-":
            self.take()
            return -self.signed()
        if self.next == "+":
            self.take()
            return self.signed()
        return self.power()

    def power(self) -> Value:
        return self.raised(self.postfixed(self.atom()))

    def raised(self, value: Value) -> Value:
        if self.next == "^":
            self.take()
            return self.postfixed(self.to_power(value, self.exponent()))
        return value

    def postfixed(self, value: Value) -> Value:
        while self.next in ("!", r"^\circ"):
            if self.take() == "!":
                if mpmath.im(value) != 0 or abs(value) > LARGEST_POWER:
                    raise UnreadableError("the factorial of a number too large")
                value = mpmath.factorial(value)
            elif self.angle:
                value = value * mpmath.pi / 180
        return value

    def exponent(self) -> Value:
        if self.next in ("{", "("):
            return self.group()
        return -self.exponent() if self.next == "-" and self.take() else self.atom()

    def to_power(self, base: Value, exponent: Value) -> Value:
        if abs(exponent) > LARGEST_POWER:
            raise UnreadableError("an exponent too large")
        if mpmath.im(base) == 0 and mpmath.re(base) < 0 and mpmath.im(exponent) == 0:
            root = next((n for n in (3, 5, 7) if _whole(exponent * n) and not _whole(exponent)), None)
            if root:
                return mpmath.root(-base, root) ** round(float(exponent * root)) * (-1) ** (
                    round(float(exponent * root)) % 2
                )
            self.outside |= not _whole(exponent)
        if _whole(exponent):
            return base ** int(mpmath.nint(mpmath.re(exponent)))
        return mpmath.power(base, exponent)

    def group(self) -> Value:
        """What stands in brackets."""
        opening = self.take()
        closing = {"(": ")", "[": "]", "{": "}", r"\{": r"\}"}.get(opening)
        if closing is None:
            raise UnreadableError(f"expected a bracket, found {opening!r}")
        bars, self.bars = self.bars, 0
        value = self.sum()
        self.bars = bars
        self.expect(closing)
        return value

    def argument(self) -> Value:
        return self.group() if self.next == "{" else self.atom()

    def atom(self) -> Value:
        piece = self.next
        if piece in ("(", "[", "{"):
            return self.group()
        if piece == "|":
            return self.absolute()
        piece = self.take()
        if piece[0].isdigit() or piece[0] == ".":
            return mpmath.mpf(piece)
        if piece.isalpha():
            return self.symbol(piece)
        if piece[0] == "\\":
            return self.command(piece[1:])
        raise UnreadableError(f"{piece!r} is not understood")

    def absolute(self) -> Value:
        self.take()
        self.bars += 1
        value = self.sum()
        self.bars -= 1
        self.expect("|")
        return abs(value)

    def symbol(self, name: str) -> Value:
        if name == "e" and self.next != "_":
            return mpmath.e
        if name in ("i", "I") and self.next != "_":
            return mpmath.mpc(0, 1)
        name += self.subscript()
        while self.next == "'":
            name += self.take()
        self.symbols.add(name)
        value = point_of(name, self.point)
        if name in _APPLIED and self.next == "(":
            return value * mpmath.cos(self.group() + value)
        return value

    def subscript(self) -> str:
        if self.next != "_":
            return ""
        self.take()
        if self.next != "{":
            return "_" + self.take()
        depth, name = 0, "_"
        while True:
            piece = self.take()
            depth += (piece == "{") - (piece == "}")
            name += piece if piece not in "{}" else ""
            if depth == 0:
                return name

    def command(self, name: str) -> Value:
        if name == "pi":
            return +mpmath.pi
        if name == "infty":
            return mpmath.inf
        if name in _GREEK:
            return self.symbol("\\" + name)
        if name == "frac":
            over = self.argument()
            return over / self.argument()
        if name == "binom":
            over, under = self.argument(), self.argument()
            if max(abs(over), abs(under)) > LARGEST_POWER:
                raise UnreadableError("a binomial too large")
            return mpmath.binomial(over, under)
        if name == "sqrt":
            return self.root()
        if name in ("lfloor", "lceil"):
            value = self.sum()
            self.expect("\\r" + name[1:])
            return mpmath.floor(value) if name == "lfloor" else mpmath.ceil(value)
        if name == "log":
            return self.logarithm()
        if name in _FUNCTIONS:
            return self.function(name)
        if name in _SEVERAL:
            return _SEVERAL[name](*self.several())
        raise UnreadableError(f"\\{name} is not understood")

    def root(self) -> Value:
        degree = mpmath.mpf(2)
        if self.next == "[":
            degree = self.group()
        value = self.argument() if self.next != "(" else self.group()
        return self.to_power(value, 1 / degree)

    def logarithm(self) -> Value:
        base: Value = mpmath.mpf(10)
        if self.next == "_":
            self.take()
            base = self.argument()
        squared = self.raised_before_argument()
        value = self.function_argument()
        self.outside |= mpmath.im(value) == 0 and mpmath.re(value) < 0
        found = mpmath.log(value) / mpmath.log(base)
        return found if squared is None else self.to_power(found, squared)

    def function(self, name: str) -> Value:
        squared = self.raised_before_argument()
        angle, self.angle = self.angle, self.angle or name in _ANGLES
        value = self.function_argument()
        self.angle = angle
        if squared == -1 and name in ("sin", "cos", "tan"):
            name, squared = "arc" + name, None
        if name == "ln":
            self.outside |= mpmath.im(value) == 0 and mpmath.re(value) < 0
        found = _FUNCTIONS[name](value)
        return found if squared is None else self.to_power(found, squared)

    def raised_before_argument(self) -> Value | None:
        if self.next != "^":
            return None
        self.take()
        return self.exponent()

    def function_argument(self) -> Value:
        """``(x)``, or the factors up to a sign or another function: ``\\sin 2x`` is sin(2x)."""
        if self.next in ("(", "[", "{"):
            return self.postfixed(self.group())
        value = self.signed()
        while self.begins_factor() and not (self.next[0] == "\\" and self.next[1:] in (*_FUNCTIONS, "log")):
            value = value * self.power()
        if (self.next in ("/",) and value == 1) or self.next == "/":
            self.take()
            value = value / self.power()
        return value

    def several(self) -> Sequence[Value]:
        opening = self.take()
        if opening not in ("(", r"\{"):
            raise UnreadableError("expected several arguments")
        found = [self.sum()]
        while self.next == ",":
            self.take()
            found.append(self.sum())
        self.expect(")" if opening == "(" else r"\}")
        return found


_NO_FACTOR = (r"\cdot", r"\times", r"\div", r"\%", r"\}", r"\rfloor", r"\rceil")


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match["text"]:
            raise UnreadableError(f"{text[at : at + 20]!r} is not understood")
        found.append(match[0].strip())
        at = match.end()
    if not found or len(found) > LONGEST_FORMULA:
        raise UnreadableError("empty, or too long")
    return found


def _added(one: Value, other: Value) -> Value:
    total = one + other
    if mpmath.isinf(one) or mpmath.isinf(other):
        return total
    return mpmath.mpf(0) if abs(total) < _CANCELLED * max(abs(one), abs(other)) else total


def _whole(value: Value) -> bool:
    return bool(mpmath.im(value) == 0 and abs(value - mpmath.nint(mpmath.re(value))) < mpmath.mpf(10) ** -40)
