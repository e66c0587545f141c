"""How far the highest and the lowest of several means lie apart, and how far they would by chance, were all equal.

A spread is never negative, so no interval of it holds 0: what it is compared with is the spread of equal settings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sivgap.report.paired import Array

DRAWS = 4000
"""Of equal settings: their noise in the expected spread is a hundredth of it."""


@dataclass(frozen=True)
class Spread:
    """Highest minus lowest mean; its mean were all equal; and the chance of one as large then. The last two are None
    where neither seeds nor prompts tell how settings vary."""

    value: float
    if_equal: float | None
    p_value: float | None


def spread(settings: Array, draws: int = DRAWS, seed: int = 0) -> Spread:
    """Of `settings` (K, S, P): K settings, S seeds, P prompts, the same in all.

    Errors of the K means are normal with the covariance that seeds and prompts show; with one seed that of prompts
    alone, and the spread expected is that of single runs on this panel's population.
    """
    means = settings.mean(axis=(1, 2))
    value = float(np.ptp(means))
    covariance = error_covariance(settings)
    if covariance is None:
        return Spread(value, None, None)
    values, vectors = np.linalg.eigh(covariance)
    noise = np.random.default_rng(seed).standard_normal((draws, len(means)))
    drawn = np.ptp(noise @ (vectors * np.sqrt(np.clip(values, 0, None))).T, axis=1)
    return Spread(value, float(drawn.mean()), float((1 + (drawn >= value).sum()) / (1 + draws)))


def error_covariance(settings: Array) -> Array | None:
    """Covariance of the errors of the K means, (K, K), of (K, S, P): what prompts, seeds, and both together bring.

    Without the part that all settings share, which moves no difference. What varies from cell to cell shows in the
    means over prompts and in those over seeds, so it is taken off once.
    """
    _, seeds, prompts = settings.shape
    apart = settings - settings.mean(axis=0)
    if prompts < 2:
        return None
    of_prompts = np.atleast_2d(np.cov(apart.mean(axis=1))) / prompts
    if seeds < 2:
        return of_prompts
    of_seeds = np.atleast_2d(np.cov(apart.mean(axis=2))) / seeds
    rest = (
        apart
        - apart.mean(axis=1, keepdims=True)
        - apart.mean(axis=2, keepdims=True)
        + apart.mean(axis=(1, 2), keepdims=True)
    )
    cells = np.einsum("ksp,lsp->kl", rest, rest) / ((seeds - 1) * (prompts - 1)) / (seeds * prompts)
    found: Array = of_prompts + of_seeds - cells
    return found
