"""Choosing among n of N stored responses, n = 1, 2, 4, ... up to N, averaged over all subsets of n.

SV's rule (`sivgap.gap.selection.Selection.choose`) orders the responses of a prompt: those that ended before those that
were cut off (unless cut ones compete), then those that pass before the others, and each part by U/|y|. A subset's
choice is its first in this order. With a threshold a response passes in every subset or in none; so the one at place r
(from 0) is the choice of C(N-1-r, n-1) of the C(N, n) subsets. With a quantile it passes in the subsets that hold few
better ones (`sivgap.gap.over_n_quantile`). Both are exact (beyond SV and MG).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import gammaln

from sivgap.gap.estimate import Array, Mask, mean, proportion
from sivgap.gap.gap import informative
from sivgap.gap.over_n_quantile import choice_by_share, gap_by_share
from sivgap.gap.pass_at_k import pass_at_k
from sivgap.gap.rival import mixed, varied
from sivgap.gap.selection import Selection


def powers_of_two(largest: int) -> list[int]:
    """1, 2, 4, ... up to `largest`."""
    return [2**i for i in range(largest.bit_length())]


def choice_probability(
    scores: Array,
    nll: Array,
    length: Array,
    finished: Array,
    selection: Selection,
    n: int,
    unparsed: Array | None = None,
) -> Array:
    """Share of the subsets of n that choose each response by SV's rule, (P, N), from arrays (P, N); 1 <= n <= N."""
    cut = np.asarray(finished == 0) & (selection.finished == "first")
    if selection.quantile is not None and selection.quantile < 1:
        return choice_by_share(scores, nll / length, selection.quantile, n, _without(scores, unparsed), cut)
    size = scores.shape[1]
    order = np.lexsort((nll / length, ~selection.passes(scores, unparsed), cut))
    after = (size - 1 - np.arange(size)).astype(np.float64)
    possible = after >= n - 1
    safe = np.where(possible, after, n - 1)
    chosen = np.where(possible, np.exp(_log_choose(safe, n - 1) - _log_choose(np.array(float(size)), n)), 0.0)
    probability = np.empty_like(scores, dtype=np.float64)
    np.put_along_axis(probability, order, np.broadcast_to(chosen, order.shape), axis=1)
    return probability


def gap_over_subsets(
    utility: Array, scores: Array, selection: Selection, n: int, unparsed: Array | None = None
) -> Array:
    """Each prompt's gap (MG Def. 2.1) averaged over its subsets of n, (P,), from arrays (P, N).

    Of the subsets that keep something by a threshold the kept ones' mean utility averages to that of all N that pass;
    the others keep all they have, none of which passes.
    """
    if selection.quantile is not None and selection.quantile < 1:
        return gap_by_share(utility, scores, selection.quantile, n, _without(scores, unparsed))
    passes = selection.passes(scores, unparsed)
    count = passes.sum(axis=1)
    size = scores.shape[1]
    some = pass_at_k(count.astype(np.float64), size, n)
    of_passing = (utility * passes).sum(axis=1) / np.maximum(count, 1)
    of_others = (utility * ~passes).sum(axis=1) / np.maximum(size - count, 1)
    return some * of_passing + (1 - some) * of_others - utility.mean(axis=1)  # type: ignore[no-any-return]


def over_n(
    utility: Array,
    scores: Array,
    nll: Array,
    length: Array,
    finished: Array,
    selection: Selection,
    unparsed: Array | None = None,
) -> pd.DataFrame:
    """One row a power of two: n, best_of_n (accuracy), likeliest_of_n (the same without the score), score_gain (the
    first less the second, paired by prompt), gv_gap and pass_at_n, each with _se, _low, _high; score_gain and gv_gap
    with _informative, which is 0 at n = 1, where both are 0 by construction.

    Args:
        utility: 0 or 1, (P, N).
        scores: (P, N).
        nll: U(y|x), nats, (P, N).
        length: Response tokens, (P, N).
        finished: Whether a response ended by itself, 0 or 1, (P, N).
        selection: Which responses pass.
        unparsed: Share of each score's verdicts that could not be read, (P, N).
    """
    rows, size = [], scores.shape[1]
    tells = mixed(utility) & (varied(scores, unparsed) > 0)
    filters = informative(utility, selection.weights(scores, unparsed))
    for n in powers_of_two(size):
        by = scores, nll, length, finished
        chosen = (choice_probability(*by, selection, n, unparsed) * utility).sum(axis=1)
        likeliest = (choice_probability(*by, selection.without_scores, n) * utility).sum(axis=1)
        gaps = gap_over_subsets(utility, scores, selection, n, unparsed)
        rows.append(
            {
                "n": n,
                **proportion(chosen, size // n).columns("best_of_n"),
                **proportion(likeliest, size // n).columns("likeliest_of_n"),
                **mean(chosen - likeliest, tells & (n > 1)).columns("score_gain"),
                **mean(gaps, filters & (n > 1)).columns("gv_gap"),
                **proportion(pass_at_k(utility.sum(axis=1), size, n), size // n).columns("pass_at_n"),
            }
        )
    return pd.DataFrame(rows)


def _without(scores: Array, unparsed: Array | None) -> Mask:
    """Which responses have no verdict that could be read, (P, N)."""
    return np.zeros(scores.shape, dtype=bool) if unparsed is None else np.asarray(unparsed >= 1)


def _log_choose(n: Array, k: int) -> Array:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)  # type: ignore[no-any-return]
