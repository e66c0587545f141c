"""The confidence of every interval in sivgap, and intervals from bootstrap draws."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from sivgap.dynamics.closed_form import Array

LEVEL = 0.9
"""Confidence of every interval."""

_LEAST_SPREAD = 1e-12
"""Influences smaller than this, relative to the value, are rounding: the value does not depend on the prompts."""


def percentile_interval(draws: Array) -> tuple[float, float]:
    """Both ends of the middle `LEVEL` of `draws`; those that are not finite are left out."""
    ends = 50 * (1 - LEVEL)
    low, high = np.percentile(draws[np.isfinite(draws)], [ends, 100 - ends])
    return float(low), float(high)


def bca_interval(value: float, draws: Array, influence: Array) -> tuple[float, float] | None:
    """The bias-corrected and accelerated interval of bootstrap `draws`, widened for heavy tails (90 %).

    Efron (1987), with Student's quantiles in place of the normal ones (Hesterberg 2015, "expanded percentile"): the
    degrees of freedom are those of the standard error of means of heavy-tailed prompts, `effective_freedom`.

    Args:
        value: The estimate from all prompts.
        draws: Its bootstrap draws, (B,); those that are not finite are left out.
        influence: What each prompt adds to the estimate, (P,): estimate = mean + mean of these, to first order.

    Returns:
        Both ends; None with fewer than half of the draws finite, or a single prompt.
    """
    finite, prompts = draws[np.isfinite(draws)], len(influence)
    if prompts < 2 or 2 * len(finite) < len(draws):
        return None
    centred = influence - influence.mean()
    squares = float((centred**2).sum())
    if np.sqrt(squares / prompts) <= _LEAST_SPREAD * abs(value):
        return percentile_interval(draws)
    acceleration = float((centred**3).sum()) / (6 * squares**1.5)
    below = np.clip((finite < value).mean(), 1 / len(finite), 1 - 1 / len(finite))
    bias = float(ndtri(below))
    tail = stdtrit(effective_freedom(influence), (1 + LEVEL) / 2) * np.sqrt(prompts / (prompts - 1))
    moved = bias + np.array([-tail, tail])
    shrink = 1 - acceleration * moved
    if (shrink <= 0).any():
        return percentile_interval(draws)
    low, high = np.quantile(finite, ndtr(bias + moved / shrink))
    return float(low), float(high)


def effective_freedom(influence: Array) -> float:
    """Degrees of freedom of the standard error of a mean of `influence`, (P,), by its kurtosis (Satterthwaite).

    P - 1 for normal values; a tenth of it and less where few prompts make most of the variance.
    """
    centred = influence - influence.mean()
    square = float((centred**2).mean())
    if square == 0:
        return float(len(influence) - 1)
    kurtosis = float((centred**4).mean()) / square**2
    return float(np.clip(2 * len(influence) / max(kurtosis - 1, 1e-9), 2.0, len(influence) - 1))
