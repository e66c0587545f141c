"""Choosing among n of N responses by a quantile, averaged over all subsets of n without drawing any.

A response passes in a subset that holds fewer than q n strictly better-scored ones. Responses without a verdict never
pass; given that a subset holds g with one, these g are any g of those that have one, so both functions below sum over
g what `_choice` and `_kept` say of prompts in which every response has a verdict. Likewise for responses that were cut
off, which are chosen only of a subset without any that ended.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln
from scipy.stats import hypergeom

from sivgap.gap.estimate import Array, Mask

Integers = NDArray[np.int64]

_BLOCK = 2**19
"""Numbers in one array of prompts x responses x levels."""

_RARE = 1e-12
"""A share of the subsets that no sum notices."""


def choice_by_share(scores: Array, per_token: Array, q: float, n: int, without: Mask, cut: Mask) -> Array:
    """Share of the subsets of n that choose each response, (P, N): of those that pass the lowest `per_token`, of a
    subset without any the lowest of all. Arrays (P, N); `without` marks responses that have no verdict, `cut` those
    that are chosen only of a subset in which all are cut.
    """
    most = math.ceil(q * n - 1e-9)
    probability = np.zeros_like(scores, dtype=np.float64)
    for rows, ended, others, chance in _by_others(cut, n):
        for f, share in enumerate(chance):
            if share >= _RARE:
                at = rows[:, None], ended if f else others
                probability[at] += share * _choice_by_verdicts(scores[at], per_token[at], most, f or n, without[at])
    return probability


def _choice_by_verdicts(scores: Array, per_token: Array, most: int, n: int, without: Mask) -> Array:
    """Chance of each response to be chosen of a subset of n, (P, M), where those `without` a verdict never pass."""
    probability = np.zeros_like(scores, dtype=np.float64)
    for rows, known, missing, chance in _by_others(without, n):
        for g, share in enumerate(chance):
            if share < _RARE:
                continue
            at = rows[:, None], known if g else missing
            read = scores[at] if g else np.zeros(missing.shape)  # without a verdict: as of equal scores
            probability[at] += share * _choice(read, per_token[at], most, g or n)
    return probability


def gap_by_share(utility: Array, scores: Array, q: float, n: int, without: Mask) -> Array:
    """Each prompt's gap (MG Def. 2.1, w of `weights.Quantile`) averaged over its subsets of n, (P,); a subset without
    any verdict keeps all it has. Arrays (P, N)."""
    filtered = np.zeros(len(scores))
    for rows, at, missing, chance in _by_others(without, n):
        for g, share in enumerate(chance):
            if share < _RARE:
                continue
            if g:
                kept = _kept(scores[rows[:, None], at], min(q * n, g), g)
                filtered[rows] += share * (kept * utility[rows[:, None], at]).sum(axis=1)
            else:
                filtered[rows] += share * utility[rows[:, None], missing].mean(axis=1)
    return filtered - utility.mean(axis=1)  # type: ignore[no-any-return]


def _by_others(marked: Mask, n: int) -> Iterator[tuple[Integers, Integers, Integers, Array]]:
    """Prompts that have as many unmarked responses: their places, (K,), those of their unmarked responses and of the
    marked ones, (K, as many), and the chance that a subset of n holds 0, 1, ... n unmarked ones."""
    unmarked, size = (~marked).sum(axis=1), marked.shape[1]
    for count in np.unique(unmarked):
        every = np.flatnonzero(unmarked == count)
        for rows in np.array_split(every, -(-len(every) * size**2 // _BLOCK)):
            at, others = (np.nonzero(mask)[1].reshape(len(rows), -1) for mask in (~marked[rows], marked[rows]))
            yield rows, at, others, hypergeom.pmf(np.arange(n + 1), size, count, n)


def _choice(scores: Array, per_token: Array, most: int, n: int) -> Array:
    """Chance of each response to be chosen of a subset of n, (P, M); `most` or fewer pass, ties at the end together.

    The worst level that passes is t where at least `most` of the subset are at or above t, and fewer above. A response
    is chosen if none at or above t is likelier. So for every t it is counted what the subset may hold beside it.
    """
    most, size = min(most, n), scores.shape[1]
    order = np.argsort(per_token, axis=1, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=1)
    level, own = ranked[:, :, None], ranked[:, None, :]  # (P, t, i)
    above, at = own > level, own == level
    likelier = [np.cumsum(mask, axis=2) for mask in (above, at)]  # up to i, and with it
    above_after, at_after = (mask.sum(axis=2, keepdims=True) - before
                             for mask, before in zip((above, at), likelier, strict=True))  # fmt: skip
    below = size - (above | at).sum(axis=2, keepdims=True)
    enough, more = _tails(size, n, most - 1), _tails(size, n, most)
    reached = enough(above_after + at_after, below)
    passed_above = np.where(above, enough(above_after, at_after + below), more(above_after, at_after + below))
    chance = np.where(above | at, reached - passed_above, 0.0) / at.sum(axis=2, keepdims=True)
    found = np.empty_like(ranked)
    np.put_along_axis(found, order, chance.sum(axis=1), axis=1)
    return found


def _tails(size: int, n: int, least: int) -> Callable[[Integers, Integers], Array]:
    """Share of the subsets of n of `size` that hold one given response, `least` or more of `a` others, the rest of `b`
    others, and nothing else; as a table over a and b."""
    log = gammaln(np.arange(size + 2) + 1.0)

    def choose(items: Integers, taken: Integers) -> Array:
        left = items - taken
        return np.where(left >= 0, log[items] - log[taken] - log[np.maximum(left, 0)], -np.inf)

    taken = np.arange(max(least, 0), n)
    a, b = np.indices((size + 1, size + 1))
    total = log[size] - log[n] - log[size - n]
    ways = choose(a[..., None], taken) + choose(b[..., None], n - 1 - taken) - total
    table = np.exp(ways).sum(axis=-1)
    return lambda first, second: table[first, second]


def _kept(scores: Array, most: float, n: int) -> Array:
    """Mean normalised weight of each response over the subsets of n, 0 where it is not in one, (P, M); `most` is kept.

    All at or above a level keep min(most, how many of them are in the subset) together, a hypergeometric mean.
    """
    size = scores.shape[1]
    held = np.array([hypergeom.pmf(np.arange(n + 1), size, of, n) @ np.minimum(most, np.arange(n + 1))
                     for of in range(size + 1)])  # fmt: skip
    at_or_above = (scores[:, None, :] >= scores[:, :, None]).sum(axis=2)
    above = (scores[:, None, :] > scores[:, :, None]).sum(axis=2)
    return (held[at_or_above] - held[above]) / (at_or_above - above) / most  # type: ignore[no-any-return]
