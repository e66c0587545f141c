"""Levels of the tests that a report words: a gap that is gone, strategies above a baseline, strategies apart.

Each function returns rows (dicts): conditions, and the share of runs in which the test said so, now and `before`.
"""

from collections.abc import Iterable
from itertools import product
from typing import Any

import numpy as np
from inference.panels import MANY, SAMPLES, Population, kept

from sivgap.gap.estimate import mean
from sivgap.gap.gap import gap
from sivgap.report.paired import difference, holm
from sivgap.report.spread import spread
from sivgap.report.sweep import MARGIN

Row = dict[str, Any]


def gone(runs: int, grid: Iterable[Iterable[float]]) -> list[Row]:
    """A gap of exactly the margin, by a verifier weak enough: how often it is called gone. Before: where its interval
    holds 0. After: where it lies within the margin (two one-sided tests at 5 %)."""
    rows = []
    for prompts, accuracy, icc in product(*grid):
        population, rng = Population(accuracy, icc), np.random.default_rng(0)
        correct, uniform = population.correct(MANY, rng), rng.random((MANY, SAMPLES))

        def of_filter(right: float, correct: np.ndarray = correct, uniform: np.ndarray = uniform) -> float:
            weights = (uniform < np.where(correct == 1, right, 0.5)).astype(float)
            return float(gap(correct, weights).estimate.value or 0)

        low, high = 0.5, 1.0
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (middle, high) if of_filter(middle) < MARGIN else (low, middle)
        if of_filter(high) < 0.95 * MARGIN:  # no verifier has such a gap on prompts as easy, or as hard
            continue
        said = []
        for _ in range(runs):
            panel = population.correct(int(prompts), rng)
            found = gap(panel, kept(panel, rng, high, 0.5))
            plain, ends = mean(found.by_prompt), (found.estimate.low, found.estimate.high)
            said.append([(plain.low or 0) <= 0, None not in ends and max(-(ends[0] or 0), ends[1] or 0) < MARGIN])
        before, after = np.mean(said, axis=0)
        rows.append(
            {"quantity": f"a gap of {of_filter(high):.3f} called gone", "prompts": int(prompts), "accuracy": accuracy,
             "icc": icc, "before": float(before), "after": float(after)}
        )  # fmt: skip
    return rows


def strategies(runs: int, prompts: int = 256) -> list[Row]:
    """Three strategies and a baseline that are all the same: how often one or more is called above it, and how far
    apart the three look. With one seed, runs that differ by training are compared as if they did not."""
    rows = []
    for seeds, training in ((1, 0.0), (1, 0.01), (2, 0.01), (3, 0.01), (5, 0.01)):
        rng, found = np.random.default_rng(3), []
        for _ in range(runs):
            chance = Population(0.6, 0.4).chances(prompts, rng).ravel()
            moved = chance + training * rng.standard_normal((4, seeds, 1)) + 0.05 * rng.standard_normal((4, 1, prompts))
            ends = rng.binomial(SAMPLES, np.clip(moved, 0, 1)) / SAMPLES
            each = [difference(end, ends[0]) for end in ends[1:]]
            adjusted = holm([one.p_value for one in each])
            apart = spread(ends[1:], draws=500)
            found.append(
                [
                    any(one.low > 0 for one in each),
                    any(p <= 0.1 and one.value > 0 for p, one in zip(adjusted, each, strict=True)),
                    apart.value, apart.if_equal, apart.p_value is not None and apart.p_value <= 0.1,
                ]
            )  # fmt: skip
        before, after, value, expected, rejected = np.mean(np.array(found, dtype=float), axis=0)
        rows.append(
            {"seeds": seeds, "deviation of training": training, "an above, before": float(before),
             "an above, Holm": float(after), "Max-Min": float(value), "expected if equal": float(expected),
             "spread rejected at 10 %": float(rejected)}
        )  # fmt: skip
    return rows
