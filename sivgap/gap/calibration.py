"""Whether scores mean what they say: reliability, Brier score, calibration error.

Arrays are (P, N); `correct` is 0 or 1. Intervals are over prompts, with the bins of the whole sample.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sivgap.gap.auroc import auroc_estimate
from sivgap.gap.calibration_error import calibration_error
from sivgap.gap.estimate import DRAWS, Array, Estimate, proportion, share

BINS = 10
"""Of a reliability curve, at most: tied scores share a bin."""


def equal_count_bins(scores: Array, bins: int = BINS) -> NDArray[np.int64]:
    """The bin of each response, of the shape of `scores`: as equal in number as ties, which stay together, allow."""
    _, level, count = np.unique(scores, return_inverse=True, return_counts=True)
    middle = (np.cumsum(count) - count / 2) / count.sum()
    _, bin_of_level = np.unique((middle * bins).astype(np.int64), return_inverse=True)
    return bin_of_level[level].reshape(scores.shape)  # type: ignore[no-any-return]


def reliability_curve(scores: Array, correct: Array, bins: int = BINS) -> pd.DataFrame:
    """One row a bin: columns bin, responses, score (mean), accuracy with _se, _low and _high."""
    cells = _cells(scores, correct, equal_count_bins(scores, bins))
    return pd.DataFrame(
        [
            {
                "bin": i,
                "responses": int(cells[:, 0, i].sum()),
                "score": cells[:, 1, i].sum() / cells[:, 0, i].sum(),
                **share(cells[:, 2, i], cells[:, 0, i]).columns("accuracy"),
            }
            for i in range(cells.shape[2])
        ]
    )


CALIBRATION = (
    "brier", "reliability", "resolution", "uncertainty", "within",
    "calibration_error", "calibration_error_plain", "calibration_error_if_calibrated", "auroc",
)  # fmt: skip


def calibration(
    scores: Array, correct: Array, bins: int = BINS, draws: int = DRAWS, seed: int = 0
) -> dict[str, Estimate]:
    """The Brier score, its parts, the expected calibration error, and the AUROC; keys `CALIBRATION`.

    brier = reliability - resolution + uncertainty + within (Murphy 1973). `within` is what scores that differ inside a
    bin add (Stephenson 2008): their variance less twice their covariance with being right; 0 where no bin mixes scores.
    The parts have no interval: reliability and resolution are sums of squares of noisy means, above 0 whatever is true.

    `calibration_error` is without that bias (`sivgap.gap.calibration_error`); `_plain` is the usual estimate, and
    `_if_calibrated` what that would be on average, were the verifier calibrated.
    """
    cells = _cells(scores, correct, equal_count_bins(scores, bins))
    parts = {name: Estimate(value) for name, value in zip(CALIBRATION[1:5], _parts(cells.sum(axis=0)), strict=True)}
    error = calibration_error(cells[:, 1] - cells[:, 2], scores.size, draws, seed)
    return {
        "brier": proportion(((scores - correct) ** 2).mean(axis=1), scores.shape[1]),
        **parts,
        "calibration_error": error.estimate,
        "calibration_error_plain": Estimate(error.plain),
        "calibration_error_if_calibrated": Estimate(error.if_calibrated),
        "auroc": auroc_estimate(scores, correct),
    }


def _cells(scores: Array, correct: Array, bins: NDArray[np.int64]) -> Array:
    """(P, 5, B): of each prompt and bin the sums of 1, s, y, s^2 and s y."""
    prompts, size = len(scores), int(bins.max()) + 1
    flat = (bins + size * np.arange(prompts)[:, None]).ravel()
    summed = (np.ones_like(scores), scores, correct, scores**2, scores * correct)
    return np.stack(
        [np.bincount(flat, values.ravel(), prompts * size).reshape(prompts, size) for values in summed], axis=1
    )


def _parts(sums: Array) -> tuple[float, float, float, float]:
    """Reliability, resolution, uncertainty and `within`, of the sums (5, B) over prompts."""
    share_of = sums[0] / sums[0].sum()
    score, accuracy, square, product = sums[1:] / sums[0]
    overall = float(share_of @ accuracy)
    variance, covariance = square - score**2, product - score * accuracy
    return (
        float(share_of @ (score - accuracy) ** 2),
        float(share_of @ (accuracy - overall) ** 2),
        overall * (1 - overall),
        float(share_of @ (variance - 2 * covariance)),
    )
