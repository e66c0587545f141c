"""The embedded task: three-operand arithmetic with exact worked solutions, any number of problems.

A problem reads ``9*3+34`` and its solution ``9*3=27, 27+34=61, Answer: 61``. Products are a two-digit times a
one-digit number, every intermediate value lies in 0..199. There are about 1.4 million expressions; a hash of
the text puts each in one of three disjoint parts, so that nothing asked of the model in a run was ever part of its
pretraining, and no held-out problem is ever trained on.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sivgap.core.problem import Problem
from sivgap.tasks.source import Record, text_field
from sivgap.tasks.task import NumberTask

LARGEST_VALUE = 199
"""Every operand and every intermediate result lies between 0 and this."""

_PARTS = {"pretrain": range(0, 4), "train": range(4, 8), "test": range(8, 10)}


@dataclass(frozen=True)
class Step:
    """One binary operation ``left op right``; the exact value is `value`."""

    left: int
    op: str
    right: int

    @property
    def value(self) -> int:
        if self.op == "*":
            return self.left * self.right
        return self.left + self.right if self.op == "+" else self.left - self.right


@dataclass(frozen=True)
class Expression:
    """``first`` is computed first; its value then meets `operand` through `op` (on its left if `leading`).

    The text keeps the usual precedence: only a product can stand behind another operand.
    """

    first: Step
    op: str
    operand: int
    leading: bool = False

    @property
    def text(self) -> str:
        first = f"{self.first.left}{self.first.op}{self.first.right}"
        return f"{self.operand}{self.op}{first}" if self.leading else f"{first}{self.op}{self.operand}"

    def second(self, first_value: int) -> Step:
        """The second step, given what the first step was said to yield."""
        if self.leading:
            return Step(self.operand, self.op, first_value)
        return Step(first_value, self.op, self.operand)

    @property
    def value(self) -> int:
        return self.second(self.first.value).value


def part_of(expression: str) -> str:
    """``pretrain`` (40 %), ``train`` (40 %) or ``test`` (20 %): a fixed function of the expression's text."""
    bucket = zlib.crc32(expression.encode()) % 10
    return next(name for name, buckets in _PARTS.items() if bucket in buckets)


def expressions(rng: np.random.Generator, part: str) -> Iterator[Expression]:
    """Endless random expressions of one part; the same generator state yields the same expressions."""
    while True:
        expression = _draw(rng)
        if expression is not None and part_of(expression.text) == part:
            yield expression


def _draw(rng: np.random.Generator) -> Expression | None:
    """One random expression, or None where a value left 0..199 (rejection keeps the rest uniform)."""
    form, first_op, second_op = int(rng.integers(4)), "*", "+-"[int(rng.integers(2))]
    if form == 3:
        first_op = "+-"[int(rng.integers(2))]
        left, right = int(rng.integers(11, 190)), int(rng.integers(11, 190))
    else:
        left, right = int(rng.integers(11, 100)), int(rng.integers(2, 10))
    expression = Expression(Step(left, first_op, right), second_op, int(rng.integers(11, 190)), leading=form == 2)
    in_range = 0 <= expression.first.value <= LARGEST_VALUE and 0 <= expression.value <= LARGEST_VALUE
    return expression if in_range else None


def write_solution(steps: list[Step], said: list[int], answer: int) -> str:
    """The solution text for steps whose results were `said` to be these values."""
    lines = [f"{s.left}{s.op}{s.right}={v}" for s, v in zip(steps, said, strict=True)]
    return ", ".join([*lines, f"Answer: {answer}"])


def worked_solution(expression: Expression) -> str:
    """The exact solution: ``9*3=27, 27+34=61, Answer: 61``."""
    first = expression.first
    second = expression.second(first.value)
    return write_solution([first, second], [first.value, second.value], second.value)


def generate(count: int, part: str, seed: int) -> list[Problem]:
    """`count` distinct problems of one part (``pretrain``, ``train``, ``test``); the id is the expression."""
    rng = np.random.default_rng([seed, *part.encode()])
    problems: dict[str, Problem] = {}
    for expression in expressions(rng, part):
        if len(problems) == count:
            break
        text = expression.text
        problems[text] = Problem(f"{part}/{text}", text, str(expression.value), worked_solution(expression))
    return list(problems.values())


def to_problem(record: Record) -> Problem:
    """A record of a file with ``question`` (an expression) and ``answer`` (an integer)."""
    question, answer = text_field(record, "question"), str(record.get("answer", "")).strip()
    if not re.fullmatch(r"-?\d{1,9}", answer):
        raise ValueError(f"field 'answer': expected an integer, got {answer[:60]!r}")
    return Problem(str(record.get("id", "")), question.strip(), answer)


class Arithmetic(NumberTask):
    """Generated."""

    form = "answer_line"
    sizes = (4096, 512)

    def read(self, record: Record) -> Problem:
        return to_problem(record)

    def generate(self, part: str, count: int | None, seed: int) -> list[Problem]:
        return generate(count or 0, part, seed)
