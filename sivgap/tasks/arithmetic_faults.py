"""How people get arithmetic wrong: the solutions that the tiny model learns from, right or not.

The embedded model is pretrained on these (`sivgap.tiny.build`), so that, like a real base model, it has seen many more
answers than right ones. The same faults make the synthetic verification examples of `update.replay`.
"""

from __future__ import annotations

import numpy as np

from sivgap.tasks.arithmetic import Expression, Step, write_solution

CARRY_FAULT = 0.35
"""Chance to drop the carry (or forget the borrow) of a step that has one: the systematic fault."""
SLIP_FAULT = 0.05
"""Chance of an unsystematic slip: one digit off by one, in any step."""
COPY_FAULT = 0.01
"""Chance to copy the last result wrongly into the answer."""


def _has_carry(step: Step) -> bool:
    if step.op == "*":
        return (step.left % 10) * step.right >= 10
    a, b = step.left, step.right
    if step.op == "+":
        return any((a // p % 10) + (b // p % 10) >= 10 for p in (1, 10))
    return any((a // p % 10) < (b // p % 10) for p in (1, 10))


def _without_carry(step: Step) -> int:
    """The step's value when no column hands anything to the next."""
    a, b = step.left, step.right
    if step.op == "*":
        return (a // 10 * b) * 10 + (a % 10) * b % 10
    columns = [((a // p) % 10, (b // p) % 10, p) for p in (1, 10, 100)]
    if step.op == "+":
        return sum((x + y) % 10 * p for x, y, p in columns)
    return sum(abs(x - y) * p for x, y, p in columns)  # the smaller digit from the larger, the classic fault


def _slip(value: int, rng: np.random.Generator) -> int:
    place: int = 10 ** int(rng.integers(len(str(abs(value)))))
    return value + place * (1 if rng.random() < 0.5 else -1)


def said_value(step: Step, rng: np.random.Generator, rate: float = 1.0) -> int:
    """What a fallible person says the step yields; `rate` of faults relative to a student's."""
    draw = rng.random()
    if draw < rate * SLIP_FAULT:
        return _slip(step.value, rng)
    if draw < rate * (SLIP_FAULT + CARRY_FAULT) and min(step.left, step.right) >= 0 and _has_carry(step):
        return _without_carry(step)
    return step.value


def fallible_solution(expression: Expression, rng: np.random.Generator, rate: float = 1.0) -> tuple[str, float, bool]:
    """A solution by a fallible person, its true score, and whether the final answer is right.

    The score is 1 for a right answer, else 0.8 x the share of steps that are right in themselves. Faults occur at
    `rate` times a student's: below 1 it is a careful person.
    """
    said_first = said_value(expression.first, rng, rate)
    second = expression.second(said_first)
    said_second = said_value(second, rng, rate)
    answer = _slip(said_second, rng) if rng.random() < rate * COPY_FAULT else said_second
    correct = answer == expression.value
    right_steps = (said_first == expression.first.value) + (said_second == second.value)
    text = write_solution([expression.first, second], [said_first, said_second], answer)
    return text, 1.0 if correct else 0.4 * right_steps, correct
