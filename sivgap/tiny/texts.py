"""What the embedded models read besides marks: students' solutions and exact facts; and how any solution is marked."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import numpy as np

from sivgap.tasks.arithmetic import Expression, Step
from sivgap.tasks.arithmetic_faults import fallible_solution, said_value

STEP = re.compile(r"(-?\d+)([*+-])(-?\d+)=(-?\d+)")


def true_score(expression: Expression, solution: str) -> tuple[float, bool]:
    """Score of any solution text by ground truth, as `fallible_solution` scores its own."""
    answer = re.search(r"Answer: (-?\d+)$", solution)
    correct = answer is not None and int(answer[1]) == expression.value
    if correct:
        return 1.0, True
    steps = STEP.findall(solution)[:2]
    right = sum(Step(int(a), op, int(b)).value == int(v) for a, op, b, v in steps)
    return 0.4 * right, False


def solve_text(expression: Expression, rng: np.random.Generator) -> str:
    return f"Question: {expression.text}\nSolution: {fallible_solution(expression, rng)[0]}"


def facts_text(stream: Iterator[Expression], rng: np.random.Generator) -> str:
    """Four exact facts from a textbook, of the kind that solutions need: ``9*3=27, 27+34=61, ...``"""
    facts: list[str] = []
    for expression in itertools.islice(stream, 2):
        second = expression.second(said_value(expression.first, rng))
        facts += [f"{s.left}{s.op}{s.right}={s.value}" for s in (expression.first, second)]
    return ", ".join(facts)
