"""Whether scores rank responses and mean what they say: AUROC, reliability, Brier score, calibration error.

Arrays are (P, N); `correct` is 0 or 1. Intervals are over resampled prompts, with the bins of the whole sample.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sivgap.gap.estimate import DRAWS, Array, Estimate, Mask, bootstrap

BINS = 10
"""Of a reliability curve, at most: tied scores share a bin."""


def auroc(scores: Array, correct: Array) -> float | None:
    """Chance that a right response scores above a wrong one, ties counting half; None if all are right or wrong."""
    return auroc_over(np.atleast_2d(scores), np.atleast_2d(correct))(np.ones(len(np.atleast_2d(scores))))


def auroc_over(scores: Array, correct: Array) -> Callable[[Array], float | None]:
    """The AUROC as a function of how often each prompt counts, (P,), to be resampled; arrays (P, N)."""
    level, right = np.unique(scores, return_inverse=True)[1].ravel(), correct.ravel() == 1
    return lambda counts: _auroc(level, right, np.repeat(counts, scores.shape[1]))


def _auroc(level: NDArray[np.int64], right: Mask, times: Array) -> float | None:
    """Of responses, (K,), that count `times` times; `level` numbers the distinct scores from 0 upwards."""
    rights, wrongs = np.bincount(level, times * right), np.bincount(level, times * ~right)
    if rights.sum() == 0 or wrongs.sum() == 0:
        return None
    below = np.cumsum(wrongs) - wrongs
    return float((rights * (below + wrongs / 2)).sum() / (rights.sum() * wrongs.sum()))


def equal_count_bins(scores: Array, bins: int = BINS) -> NDArray[np.int64]:
    """The bin of each response, of the shape of `scores`: as equal in number as ties, which stay together, allow."""
    _, level, count = np.unique(scores, return_inverse=True, return_counts=True)
    middle = (np.cumsum(count) - count / 2) / count.sum()
    _, bin_of_level = np.unique((middle * bins).astype(np.int64), return_inverse=True)
    return bin_of_level[level].reshape(scores.shape)  # type: ignore[no-any-return]


def reliability_curve(
    scores: Array, correct: Array, bins: int = BINS, draws: int = DRAWS, seed: int = 0
) -> pd.DataFrame:
    """One row a bin: columns bin, responses, score (mean), accuracy with _se, _low and _high."""
    cells = _cells(scores, correct, equal_count_bins(scores, bins))
    number, score = cells.sum(axis=0)[:2]

    def accuracies(counts: Array) -> Array:
        counted, _, right, _, _ = np.tensordot(counts, cells, 1)
        found: Array = np.divide(right, counted, out=np.full_like(right, np.nan), where=counted > 0)
        return found

    return pd.DataFrame(
        [
            {"bin": i, "responses": int(number[i]), "score": score[i] / number[i], **estimate.columns("accuracy")}
            for i, estimate in enumerate(bootstrap(accuracies, len(scores), draws, seed))
        ]
    )


CALIBRATION = ("brier", "reliability", "resolution", "uncertainty", "within", "calibration_error", "auroc")


def calibration(
    scores: Array, correct: Array, bins: int = BINS, draws: int = DRAWS, seed: int = 0
) -> dict[str, Estimate]:
    """The Brier score, its parts, the expected calibration error, and the AUROC; keys `CALIBRATION`.

    brier = reliability - resolution + uncertainty + within (Murphy 1973). `within` is what scores that differ inside a
    bin add (Stephenson 2008): their variance less twice their covariance with being right; 0 where no bin mixes scores.

    Reliability and the calibration error are distances from noisy means, so a calibrated verifier has them above 0 too:
    by uncertainty / responses a bin or more, and the error by about the root of that.
    """
    cells = _cells(scores, correct, equal_count_bins(scores, bins))
    of_prompts = auroc_over(scores, correct)

    def statistic(counts: Array) -> Array:
        found = of_prompts(counts)
        return np.array([*_parts(np.tensordot(counts, cells, 1)), np.nan if found is None else found])

    return dict(zip(CALIBRATION, bootstrap(statistic, len(scores), draws, seed), strict=True))


def _cells(scores: Array, correct: Array, bins: NDArray[np.int64]) -> Array:
    """(P, 5, B): of each prompt and bin the sums of 1, s, y, s^2 and s y. Resampled prompts only add them up."""
    prompts, size = len(scores), int(bins.max()) + 1
    flat = (bins + size * np.arange(prompts)[:, None]).ravel()
    summed = (np.ones_like(scores), scores, correct, scores**2, scores * correct)
    return np.stack(
        [np.bincount(flat, values.ravel(), prompts * size).reshape(prompts, size) for values in summed], axis=1
    )


def _parts(sums: Array) -> tuple[float, ...]:
    """All of `CALIBRATION` but the AUROC, of the sums (5, B) over prompts."""
    sums = sums[:, sums[0] > 0]
    share = sums[0] / sums[0].sum()
    score, accuracy, square, product = sums[1:] / sums[0]
    overall = float(share @ accuracy)
    variance, covariance = square - score**2, product - score * accuracy
    return (
        float(share @ (square - 2 * product + accuracy)),
        float(share @ (score - accuracy) ** 2),
        float(share @ (accuracy - overall) ** 2),
        overall * (1 - overall),
        float(share @ (variance - 2 * covariance)),
        float(share @ np.abs(score - accuracy)),
    )
