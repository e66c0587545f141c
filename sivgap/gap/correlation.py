"""How alike verifiers are: correlations of their scores of the same responses and of their gaps on the same prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from sivgap.gap.estimate import DRAWS, Array, bootstrap


def weighted_pearson(a: Array, b: Array, times: Array) -> float:
    """Pearson's r of `a` and `b`, each pair counted `times` times, all (K,); NaN where one does not vary."""
    a, b = (x - np.average(x, weights=times) for x in (a, b))
    spread = np.sqrt((times @ a**2) * (times @ b**2))
    return float(times @ (a * b) / spread) if spread > 0 else float("nan")


def weighted_ranks(level: NDArray[np.int64], times: Array) -> Array:
    """Mean ranks, (K,), of values that count `times` times, (K,); `level` numbers the distinct values from 0, (K,)."""
    count = np.bincount(level, times)
    return (np.cumsum(count) - (count - 1) / 2)[level]  # type: ignore[no-any-return]


def score_correlations(scores: Mapping[str, Array], draws: int = DRAWS, seed: int = 0) -> pd.DataFrame:
    """One row a pair of verifiers: their scores' Pearson and Spearman correlations, pooled and within prompts.

    Within prompts, scores (for Spearman their ranks in the prompt) are taken less the prompt's mean: what is left is
    whether the verifiers prefer the same responses, not whether they find the same prompts easy.

    Args:
        scores: (P, N) of each verifier, of the same responses.
        draws: Bootstrap samples of prompts.
        seed: Of the bootstrap.

    Returns:
        Columns first, second, pearson, spearman, pearson_within, spearman_within, each with _se, _low, _high.
    """
    return _pairs(scores, ("pearson", "spearman", "pearson_within", "spearman_within"), draws, seed)


def gap_correlations(gaps: Mapping[str, Array], draws: int = DRAWS, seed: int = 0) -> pd.DataFrame:
    """One row a pair of verifiers: correlations of their gaps by prompt, (P,) each, of the same prompts.

    Columns first, second, pearson and spearman, each with _se, _low, _high.
    """
    return _pairs({name: gap[:, None] for name, gap in gaps.items()}, ("pearson", "spearman"), draws, seed)


def _pairs(values: Mapping[str, Array], kinds: tuple[str, ...], draws: int, seed: int) -> pd.DataFrame:
    """`kinds` of correlation of every pair of `values`, (P, N) each."""
    rows = []
    for first, second in combinations(values, 2):
        a, b = values[first], values[second]
        found = bootstrap(_statistic(a, b, within=len(kinds) > 2), len(a), draws, seed)
        row: dict[str, str | float | None] = {"first": first, "second": second}
        for kind, estimate in zip(kinds, found, strict=True):
            row |= estimate.columns(kind)
        rows.append(row)
    return pd.DataFrame(rows)


def _statistic(a: Array, b: Array, within: bool) -> Callable[[Array], Array]:
    """Of how often each prompt counts, (P,): Pearson and Spearman, then, if asked, the same within prompts."""
    (a_level, b_level) = (np.unique(x, return_inverse=True)[1].ravel() for x in (a, b))
    inside = [(_less_mean(a).ravel(), _less_mean(b).ravel())]
    inside += [(_less_mean(rankdata(a, axis=1)).ravel(), _less_mean(rankdata(b, axis=1)).ravel())]

    def found(counts: Array) -> Array:
        times = np.repeat(counts, a.shape[1])
        ranks = weighted_ranks(a_level, times), weighted_ranks(b_level, times)
        pairs = [(a.ravel(), b.ravel()), ranks, *(inside if within else [])]
        return np.array([weighted_pearson(x, y, times) for x, y in pairs])

    return found


def _less_mean(x: Array) -> Array:
    return x - x.mean(axis=1, keepdims=True)  # type: ignore[no-any-return]
