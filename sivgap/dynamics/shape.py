"""Whether a curve is of the kind that forecasts know: one direction, no jumps, and its noise without a pattern."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sivgap.dynamics.closed_form import Array

WINDOW = 3
"""Points that are averaged before a turn is looked for."""

_TURN_NOISE = 5.0
"""Standard errors of such an average by which a curve must have turned back for it to be no accident."""

_TURN_RANGE = 0.15
"""And the share of the range seen."""

_FEWEST_TURNED = 8
"""Points from which on a turn can be told from noise."""

_JUMP = 0.3
"""Share of the range seen that a jump covers between two points."""

_SUDDEN = 3.0
"""How many times larger than the step before it a jump is; steps of a smooth curve fade in."""

_QUIET = 0.03
"""Share of the range below which most steps of a curve stay that moves by jumps."""


@dataclass(frozen=True)
class Turn:
    """How far each of B curves has come back from its extreme, in its own unit, and whether that is a turn."""

    size: Array
    turned: NDArray[np.bool_]
    peak: NDArray[np.bool_]


def noise_of(values: Array) -> Array:
    """Standard deviation of the noise of curves (..., T), from second differences, which a smooth curve hardly has."""
    if values.shape[-1] < 3:
        return np.zeros(values.shape[:-1])
    return np.asarray(np.median(np.abs(np.diff(values, 2)), axis=-1) / (0.6745 * np.sqrt(6.0)))


def averaged(values: Array, window: int = WINDOW) -> Array:
    """Means over every `window` consecutive points of (..., T), (..., T - window + 1)."""
    total = np.cumsum(np.concatenate([np.zeros((*values.shape[:-1], 1)), values], axis=-1), axis=-1)
    return np.asarray((total[..., window:] - total[..., :-window]) / window)


def turns(values: Array) -> Turn:
    """Whether curves (B, T) have an extreme inside that lies clear of both their ends: a fall after a rise, or a rise
    after a fall."""
    none = np.zeros(len(values), dtype=bool)
    if values.shape[1] < _FEWEST_TURNED:
        return Turn(np.zeros(len(values)), none, none)
    smooth = averaged(values)
    first, last = smooth[:, 0], smooth[:, -1]
    above = smooth.max(axis=1) - np.maximum(first, last)
    below = np.minimum(first, last) - smooth.min(axis=1)
    size = np.maximum(above, below)
    least = np.maximum(_TURN_NOISE * noise_of(values) * np.sqrt(2 / WINDOW), _TURN_RANGE * np.ptp(values, axis=1))
    return Turn(size, size > least, above > below)


def jumps(values: Array) -> NDArray[np.bool_]:
    """Whether curves (B, T) stand still but for jumps, (B,)."""
    steps = np.abs(np.diff(values, axis=1))
    span = np.ptp(values, axis=1)
    sudden = (steps[:, 1:] > _JUMP * span[:, None]) & (steps[:, 1:] > _SUDDEN * steps[:, :-1])
    return np.asarray((span > 0) & sudden.any(axis=1) & (np.median(steps, axis=1) < _QUIET * span))
