"""Tests of shape with the prompts' covariance: generalised least squares, for tests only (THEORY section 7).

The error of a panel's mean curves is correlated over epochs and between solver and verifier, since its prompts stay
the same. With the covariance of the mean over P prompts, S / P, the misfit of a law is a Hotelling statistic, and two
laws of which one holds the other are compared by Wilks' ratio, whose F distribution knows that S is estimated: exact
for normal prompts and laws linear in their parameters, close otherwise (benchmarks/inference_study.py). Shrinking S did
worse (rejected .30 of true laws at 41 points and 128 prompts); where P is too small for 2 T points, blocks of
consecutive points are averaged.

Intervals of parameters do not come from here: where the law is wrong, generalised least squares finds parameters of
something else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import least_squares
from scipy.stats import f as f_distribution

from sivgap.dynamics.closed_form import Array

FEWEST_PROMPTS = 30
"""Prompts below which their covariance says too little."""

_MOST_DIMENSIONS = 0.7
"""Dimensions a prompt, at most: more points are averaged in blocks."""

Law = Callable[[Array], Array]
"""Parameters (K,) -> fitted numbers of one row, (D,)."""


@dataclass(frozen=True)
class PromptCovariance:
    """The covariance of the mean of P prompts' curves.

    Attributes:
        prompts: P.
        blocks: Averaging of the D numbers of a prompt to M, (M, D).
        factor: Lower Cholesky factor of the covariance of the averaged mean, (M, M).
    """

    prompts: int
    blocks: Array
    factor: Array

    @classmethod
    def of(cls, curves: Array) -> PromptCovariance | None:
        """Of curves (P, C, T); None with fewer than `FEWEST_PROMPTS` prompts, or numbers that do not vary."""
        prompts, count, points = curves.shape
        if prompts < FEWEST_PROMPTS:
            return None
        most = max(int(_MOST_DIMENSIONS * prompts) // count, 1)
        blocks: Array = np.kron(np.eye(count), _averages(points, min(points, most))).astype(np.float64)
        values = curves.reshape(prompts, -1) @ blocks.T
        covariance = np.asarray(np.atleast_2d(np.cov(values, rowvar=False)) / prompts, dtype=np.float64)
        try:
            factor: Array = np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
        except np.linalg.LinAlgError:
            return None
        return cls(prompts, blocks, factor)

    def misfit(self, seen: Array, law: Law, start: Array) -> tuple[float, Array]:
        """The least squared distance of a `law` from `seen` (D,) in units of the covariance, and its parameters."""

        def residual(parameters: Array) -> Array:
            off = self.blocks @ (seen - law(parameters))
            return np.asarray(solve_triangular(self.factor, off, lower=True))

        found = least_squares(residual, start, method="lm", x_scale=np.maximum(np.abs(start), 1e-3), max_nfev=2000)
        return float(2 * found.cost), np.asarray(found.x)

    def compare(self, restricted: float, full: float, parameters: int) -> float | None:
        """p value of a restriction of one parameter, from the misfits of both; `parameters` of the full law."""
        freedom = self._freedom(parameters)
        if freedom < 1:
            return None
        ratio = (1 + restricted / (self.prompts - 1)) / (1 + full / (self.prompts - 1))
        return float(f_distribution.sf(max(ratio - 1, 0.0) * freedom, 1, freedom))

    def lack_of_fit(self, misfit: float, parameters: int) -> float | None:
        """p value of a law with so many `parameters` against any curves (Hotelling)."""
        extra = len(self.factor) - parameters
        freedom = self._freedom(parameters)
        if extra < 1 or freedom < 1:
            return None
        return float(f_distribution.sf(misfit * freedom / ((self.prompts - 1) * extra), extra, freedom))

    def criterion(self, misfit: float) -> float:
        """-2 log likelihood, the covariance integrated out, up to a constant: differences compare laws."""
        return float(self.prompts * np.log1p(misfit / (self.prompts - 1)))

    def _freedom(self, parameters: int) -> int:
        return self.prompts - 1 - (len(self.factor) - parameters)


def _averages(points: int, blocks: int) -> Array:
    """Means over so many blocks of consecutive points, (blocks, points)."""
    found = np.zeros((blocks, points))
    for i, block in enumerate(np.array_split(np.arange(points), blocks)):
        found[i, block] = 1 / len(block)
    return found
