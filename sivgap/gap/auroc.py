"""AUROC: the chance that a right response scores above a wrong one, over all pairs, or within prompts alone.

Pooled over prompts it also measures which prompts are easy: a score that knows only that has .76 on prompts of uniform
difficulty. Best of N compares responses of one prompt, so it depends on the AUROC within prompts.
"""

from __future__ import annotations

import numpy as np

from sivgap.gap.estimate import UNDEFINED, Array, Estimate, proportion, wilson


def auroc(scores: Array, correct: Array) -> float | None:
    """Chance that a right response scores above a wrong one, ties counting half; None if all are right or wrong.

    Arrays of one shape; `correct` is 0 or 1.
    """
    found = _parts(np.atleast_2d(scores), np.atleast_2d(correct))
    return None if found is None else found[0]


def auroc_estimate(scores: Array, correct: Array) -> Estimate:
    """`auroc` of arrays (P, N) with its interval over prompts, in [0, 1] as a `proportion`'s.

    Its error is DeLong's, clustered by prompt (Obuchowski 1997). Where it is 0, as for a perfect ranking, each prompt
    of the rarer kind (with a right, or with a wrong response) counts as one.
    """
    found = _parts(scores, correct)
    if found is None:
        return UNDEFINED
    value, influence = found
    if len(influence) < 2:
        return Estimate(value)
    error = float(influence.std(ddof=1) / np.sqrt(len(influence)))
    rarer = min(int((correct == kind).any(axis=1).sum()) for kind in (0, 1))
    prompts = len(influence) if error > 0 else max(rarer, 2)
    return Estimate(value, error, *wilson(value, error, prompts, correct.size))


def auroc_influence(scores: Array, correct: Array) -> Array | None:
    """How much each prompt moves the pooled AUROC, (P,), of mean 0: the standard error of a difference of two AUROCs of
    the same responses is that of the mean of their influences' difference. None where there is no AUROC."""
    found = _parts(scores, correct)
    return None if found is None else found[1]


def auroc_by_prompt(scores: Array, correct: Array) -> Array:
    """Each prompt's AUROC, (P,): chance that a right response of it scores above a wrong one of it, ties counting half;
    NaN for a prompt without both. Arrays (P, N)."""
    from scipy.stats import rankdata  # after a run's first samples: it takes a while to load

    right = correct == 1
    rights, wrongs = right.sum(axis=1), (~right).sum(axis=1)
    ranks = (rankdata(scores, axis=1) * right).sum(axis=1)
    both = (rights > 0) & (wrongs > 0)
    found = np.full(len(correct), np.nan)
    found[both] = (ranks[both] - rights[both] * (rights[both] + 1) / 2) / (rights[both] * wrongs[both])
    return found


def auroc_within(scores: Array, correct: Array) -> Estimate:
    """The mean of `auroc_by_prompt` over the prompts that have one; `informative` says how many."""
    found = auroc_by_prompt(scores, correct)
    mixed = found[np.isfinite(found)]
    return proportion(mixed, scores.shape[1], len(mixed)) if len(mixed) else Estimate(None, informative=0)


def _parts(scores: Array, correct: Array) -> tuple[float, Array] | None:
    """The AUROC, and each prompt's influence on it, (P,); of arrays (P, N)."""
    level = np.unique(scores, return_inverse=True)[1].reshape(correct.shape)
    right = correct == 1
    rights, wrongs = (
        np.bincount(level[kind], minlength=level.max() + 1).astype(np.float64) for kind in (right, ~right)
    )
    n, m = rights.sum(), wrongs.sum()
    if n == 0 or m == 0:
        return None
    below, above = np.cumsum(wrongs) - wrongs / 2, n - np.cumsum(rights) + rights / 2
    value = float((rights * (np.cumsum(wrongs) - wrongs + wrongs / 2)).sum() / (n * m))
    of_right = np.where(right, below[level] / m - value, 0.0).sum(axis=1) / n
    of_wrong = np.where(right, 0.0, above[level] / n - value).sum(axis=1) / m
    return value, len(correct) * (of_right + of_wrong)
