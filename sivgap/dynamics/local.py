"""Forecasts that assume no law: a level that wanders, and a level with a slope that dies out.

Both are exponential smoothing in its state-space form (Hyndman, Koehler, Ord and Snyder 2008, chapters 2 and 5): the
local level, ETS(A,N,N), and the damped trend, ETS(A,Ad,N), each averaged over a grid of its constants, weighted by how
well they predicted the next point so far. A damped slope reaches a share of what was seen, so the unit of time does not
matter. Points are taken as evenly spaced.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sivgap.dynamics.closed_form import Array

_GAINS = np.array([0.05, 0.1, 0.2, 0.35, 0.55, 0.8, 0.99])
"""Share of a surprise that the level takes over."""

_SLOPE_GAINS = np.array([0.02, 0.07, 0.2])
"""Share of the level's correction that the slope takes over."""

_REACHES = np.array([0.1, 0.25, 0.6])
"""Time in which a slope dies out by 1/e, in units of the time seen."""

_EXACT = 1e-9


@dataclass(frozen=True)
class Local:
    """Forecast at M times: mean and variance of the curve (B, M), variance of a measurement around it (B,)."""

    mean: Array
    variance: Array
    noise: Array


def level(values: Array, ahead: Array) -> Local:
    """The local level.

    Args:
        values: Evenly spaced points seen, (B, T). ahead: How many spacings later, (M,); infinity is allowed.
    """
    gain = np.broadcast_to(_GAINS, (1, len(_GAINS)))
    return _smoothed(values, ahead, gain, np.zeros_like(gain), np.zeros_like(gain))


def damped_slope(values: Array, ahead: Array) -> Local:
    """The local level with a slope that dies out; arguments as of `level`."""
    gain, slope, reach = (g.reshape(1, -1) for g in np.meshgrid(_GAINS[1:], _SLOPE_GAINS, _REACHES))
    return _smoothed(values, ahead, gain, slope, np.exp(-1 / (reach * max(values.shape[1] - 1, 1))))


def _smoothed(values: Array, ahead: Array, gain: Array, slope_gain: Array, damping: Array) -> Local:
    """Average over constants (1, G), by the likelihood of their one-step errors with the noise integrated out."""
    points = values.shape[1]
    first = max(2, min(5, points // 4))
    slopes = slope_gain.any()
    start = values[:, :first]
    drift = (start[:, -1:] - start[:, :1]) / (first - 1) if slopes else np.zeros((len(values), 1))
    at, slope = start.mean(axis=1, keepdims=True) - drift * (first - 1) / 2 + 0 * gain, drift + 0 * gain
    at = at - damping * slope
    errors = np.zeros((points, *at.shape))
    for i in range(points):
        predicted = at + damping * slope
        errors[i] = values[:, i : i + 1] - predicted
        at = predicted + gain * errors[i]
        slope = damping * slope + gain * slope_gain * errors[i]
    known = errors[min(first, points - 2) :]
    square = (known**2).mean(axis=0)
    weight = _weights(square, len(known))
    run = _reached(damping, ahead)  # (1, G, M)
    means = at[..., None] + slope[..., None] * run
    mean = np.einsum("bg,bgm->bm", weight, means)
    spread = np.einsum("bg,bgm->bm", weight, (means - mean[:, None]) ** 2)
    step = gain[..., None] ** 2 * np.minimum(ahead, 4.0 * points)  # a level wanders on, by gain * surprise a step
    wander = np.einsum("bg,bgm->bm", weight * square, np.broadcast_to(step, (1, gain.shape[1], len(ahead))))
    return Local(mean, spread + wander, (weight * square * (1 - gain)).sum(axis=1))


def _weights(square: Array, count: int) -> Array:
    least = square.min(axis=1, keepdims=True)
    relative = square / np.maximum(least, 1e-300)
    weight = np.exp(-count / 2 * np.log(relative + _EXACT))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def _reached(damping: Array, ahead: Array) -> Array:
    """Sum of damping^i for i = 1 to `ahead`, (1, G, M)."""
    d = damping[..., None]
    with np.errstate(invalid="ignore"):
        power = np.where(np.isinf(ahead), 0.0, d ** np.where(np.isinf(ahead), 0.0, ahead))
    return np.asarray(np.where(d > 0, d * (1 - power) / (1 - d), 0.0))
