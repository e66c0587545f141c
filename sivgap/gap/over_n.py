"""Choosing among n of N stored responses, n = 1, 2, 4, ... up to N, averaged over all subsets of n.

SV's rule (`sivgap.selection.best_of_n`) orders the responses of a prompt: those that reach the threshold before the
others, and each part by U/|y|. A subset's choice is its first in this order. So the response at place r (from 0) is the
choice of C(N-1-r, n-1) of the C(N, n) subsets: an average over all of them costs one sort (beyond SV and MG).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import gammaln

from sivgap.gap.estimate import Array, mean
from sivgap.gap.pass_at_k import pass_at_k


def powers_of_two(largest: int) -> list[int]:
    """1, 2, 4, ... up to `largest`."""
    return [2**i for i in range(largest.bit_length())]


def choice_probability(scores: Array, nll: Array, length: Array, threshold: float, n: int) -> Array:
    """Share of the subsets of n that choose each response by SV's rule, (P, N), from arrays (P, N); 1 <= n <= N."""
    size = scores.shape[1]
    order = np.lexsort((nll / length, scores < threshold))
    after = (size - 1 - np.arange(size)).astype(np.float64)
    possible = after >= n - 1
    safe = np.where(possible, after, n - 1)
    chosen = np.where(possible, np.exp(_log_choose(safe, n - 1) - _log_choose(np.array(float(size)), n)), 0.0)
    probability = np.empty_like(scores, dtype=np.float64)
    np.put_along_axis(probability, order, np.broadcast_to(chosen, order.shape), axis=1)
    return probability


def gap_over_subsets(utility: Array, scores: Array, threshold: float, n: int) -> Array:
    """Each prompt's gap (MG Def. 2.1, w = 1[score >= tau]) averaged over its subsets of n, (P,), from arrays (P, N).

    Of the subsets that keep something the kept ones' mean utility averages to that of all N that pass; the others keep
    all they have, none of which passes.
    """
    passes = scores >= threshold
    count = passes.sum(axis=1)
    size = scores.shape[1]
    some = pass_at_k(count.astype(np.float64), size, n)
    of_passing = (utility * passes).sum(axis=1) / np.maximum(count, 1)
    of_others = (utility * ~passes).sum(axis=1) / np.maximum(size - count, 1)
    return some * of_passing + (1 - some) * of_others - utility.mean(axis=1)  # type: ignore[no-any-return]


def over_n(utility: Array, scores: Array, nll: Array, length: Array, threshold: float) -> pd.DataFrame:
    """Columns n, best_of_n (accuracy), gap and pass_at_n, each with _se, _low, _high; one row a power of two.

    Args:
        utility: 0 or 1, (P, N).
        scores: (P, N).
        nll: U(y|x), nats, (P, N).
        length: Response tokens, (P, N).
        threshold: tau.
    """
    rows = []
    for n in powers_of_two(scores.shape[1]):
        chosen = choice_probability(scores, nll, length, threshold, n)
        rows.append(
            {
                "n": n,
                **mean((chosen * utility).sum(axis=1)).columns("best_of_n"),
                **mean(gap_over_subsets(utility, scores, threshold, n)).columns("gap"),
                **mean(pass_at_k(utility.sum(axis=1), utility.shape[1], n)).columns("pass_at_n"),
            }
        )
    return pd.DataFrame(rows)


def _log_choose(n: Array, k: int) -> Array:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)  # type: ignore[no-any-return]
