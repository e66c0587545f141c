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
    alone, and the spread expected is that of single runs on this panel's population. The p value is that of Student's
    errors with the degrees of freedom of `sivgap.report.paired`: of few seeds it is too large rather than too small.
    """
    value = float(np.ptp(settings.mean(axis=(1, 2))))
    kinds, seeds, prompts = settings.shape
    if prompts < 2:
        return Spread(value, None, None)
    rng = np.random.default_rng(seed)
    normal, parts = rng.standard_normal((draws, kinds)), error_parts(settings)
    expected = np.ptp(_with_covariance(normal, parts[0] + parts[1] - parts[2]), axis=1).mean()
    of_prompts, of_seeds = float(np.trace(parts[0])), float(np.trace(parts[1]))
    below = of_prompts**2 / (prompts - 1) + (of_seeds**2 / (seeds - 1) if seeds > 1 else 0)
    freedom = (of_prompts + of_seeds) ** 2 / below if below > 0 else 1.0
    drawn = np.ptp(_with_covariance(normal, parts[0] + parts[1]), axis=1)
    drawn = drawn / np.sqrt(rng.chisquare(freedom, draws) / freedom)
    return Spread(value, float(expected), float((1 + (drawn >= value).sum()) / (1 + draws)))


def error_parts(settings: Array) -> tuple[Array, Array, Array]:
    """Covariances of the errors of the K means, (K, K) each, of (K, S, P): as prompts show them, as seeds do (0 with
    one), and what of them is in both, for it varies from cell to cell.

    Without what all settings share, which moves no difference.
    """
    kinds, seeds, prompts = settings.shape
    apart = settings - settings.mean(axis=0)
    of_prompts: Array = np.cov(apart.mean(axis=1)).reshape(kinds, kinds) / prompts
    if seeds < 2:
        return of_prompts, np.zeros_like(of_prompts), np.zeros_like(of_prompts)
    of_seeds: Array = np.cov(apart.mean(axis=2)).reshape(kinds, kinds) / seeds
    means = (
        apart.mean(axis=1, keepdims=True) + apart.mean(axis=2, keepdims=True) - apart.mean(axis=(1, 2), keepdims=True)
    )
    cells = np.einsum("ksp,lsp->kl", apart - means, apart - means) / ((seeds - 1) * (prompts - 1) * seeds * prompts)
    return of_prompts, of_seeds, cells


def _with_covariance(normal: Array, covariance: Array) -> Array:
    """Standard normal draws, (D, K), made to have `covariance`; a difference of estimates may have negative roots."""
    values, vectors = np.linalg.eigh(covariance)
    found: Array = normal @ (vectors * np.sqrt(np.clip(values, 0, None))).T
    return found
