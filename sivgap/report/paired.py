"""Is one setting better than another, and are two the same? Paired by seed and prompt.

A difference varies from seed to seed (training) and from prompt to prompt (the panel). Its variance is the sum of both
parts, var over seeds / seeds + var over prompts / prompts, with Satterthwaite's degrees of freedom; what varies in each
cell is in both, so intervals are wide rather than narrow. With one seed the first part is missing, and the report says
so.

A difference that is not significant is no evidence of equality. That takes an equivalence test (two one-sided tests,
Schuirmann 1987): at 5 % two settings are equivalent within a margin if the 90 % interval of their difference lies
inside it. Several differences are tested together by `holm`; how far apart equal settings lie by chance is in
`sivgap.report.spread`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """Mean difference of a minus b, its standard error, degrees of freedom, 90 % interval, and the p value of no
    difference (two-sided)."""

    value: float
    stderr: float
    freedom: float
    low: float
    high: float
    p_value: float

    def equivalent(self, margin: float) -> float:
        """p value of the two one-sided tests that the difference is within +- `margin`."""
        below = student.sf((self.value + margin) / self.stderr, self.freedom)
        above = student.cdf((self.value - margin) / self.stderr, self.freedom)
        return float(max(below, above))

    @property
    def margin(self) -> float:
        """The smallest margin within which the two are equivalent at 5 %."""
        return max(abs(self.low), abs(self.high))


def difference(a: Array, b: Array) -> Difference:
    """Of `a` and `b` (S, P): S seeds, P prompts, the same in both."""
    apart = a - b
    seeds, prompts = apart.shape
    parts = [(float(apart.mean(axis=0).var(ddof=1)) / prompts, prompts - 1)] if prompts > 1 else []
    parts += [(float(apart.mean(axis=1).var(ddof=1)) / seeds, seeds - 1)] if seeds > 1 else []
    return from_parts(float(apart.mean()), parts)


def from_parts(value: float, parts: Sequence[tuple[float, int]]) -> Difference:
    """A mean whose variance is the sum of `parts`, each with its degrees of freedom (Satterthwaite)."""
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / free for part, free in parts) if variance > 0 else 1.0
    error = max(float(np.sqrt(variance)), 1e-12)
    half = float(student.ppf(0.95, freedom)) * error
    p_value = 2 * float(student.sf(abs(value) / error, freedom))
    return Difference(value, error, freedom, value - half, value + half, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values of several tests, adjusted so that one false rejection or more among them has the level's chance
    (Holm 1979), whatever their dependence; in the order given."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate((len(p_values) - np.arange(len(p_values))) * np.asarray(p_values)[order])
    return [float(p) for p in np.minimum(adjusted, 1)]
