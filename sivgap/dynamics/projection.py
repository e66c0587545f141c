"""Variable projection: for a fixed rate the exponential law is linear in everything else (THEORY section 5).

So the squared error is a function of the rate alone, found on a grid and narrowed down: no starting values, no local
minima, and thousands of data sets at once, which is what makes a bootstrap cheap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from sivgap.dynamics.closed_form import Array

Decay = Callable[[Array], Array]
"""How far a curve has come at r t, from 0 at the start to -1 at its limit."""

GRID = np.geomspace(0.02, 200.0, 120)
"""Rates that are tried, times the length of the data: from a straight line to a fall within the first of 200 steps."""

_MOST_NUMBERS = 10_000_000
"""Numbers in memory at once, a few times over: more data sets are done in portions."""

_CONSTANT = 1e-12
"""A regressor whose variance is less than this share of its square does not vary within rounding."""

_ZOOMS, _POINTS = 7, 9
"""Rounds of narrowing down, and rates in each: the last interval is about 1e-6 of the rate wide."""


@dataclass(frozen=True)
class Projected:
    """The best laws for B data sets of C curves that share one rate: y = start + fall decay(r t).

    Attributes:
        rate: (B,), per epoch. start, fall: (B, C), nats. sse: weighted squared error, (B,).
        at_edge: Whether the best rate is an end of the grid, so that the data do not say what it is, (B,).
    """

    rate: Array
    start: Array
    fall: Array
    sse: Array
    at_edge: Array


def exponential_decay(x: Array) -> Array:
    """exp(-x) - 1, the coupled law."""
    return np.asarray(np.expm1(-x))


def project(epoch: Array, curves: Array, weights: Array | None = None, decay: Decay = exponential_decay) -> Projected:
    """Least squares over the shared rate.

    Args:
        epoch: Epochs, (T,); repeated ones are allowed.
        curves: Data, (B, C, T).
        weights: Of the squared errors, (C, T); None weighs all points alike.
        decay: The shape of the law.
    """
    chunk = max(1, _MOST_NUMBERS // (len(GRID) * len(epoch)))
    if len(curves) > chunk:
        parts = [project(epoch, curves[i : i + chunk], weights, decay) for i in range(0, len(curves), chunk)]
        return Projected(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Projected)))
    weight = np.ones(curves.shape[1:]) if weights is None else weights
    rates = GRID / np.ptp(epoch)
    errors = _sse(epoch, curves, weight, np.broadcast_to(rates, (len(curves), len(rates))), decay)
    best = errors.argmin(axis=1)
    at_edge = (best == 0) | (best == len(rates) - 1)
    low, high = rates[np.maximum(best - 1, 0)], rates[np.minimum(best + 1, len(rates) - 1)]
    rate = rates[best]
    for _ in range(_ZOOMS):
        tried = low[:, None] * (high / low)[:, None] ** np.linspace(0, 1, _POINTS)
        best = _sse(epoch, curves, weight, tried, decay).argmin(axis=1)[:, None]
        rate = np.take_along_axis(tried, best, 1)[:, 0]
        low = np.take_along_axis(tried, np.maximum(best - 1, 0), 1)[:, 0]
        high = np.take_along_axis(tried, np.minimum(best + 1, _POINTS - 1), 1)[:, 0]
    start, fall, sse = _linear(epoch, curves, weight, rate[:, None], decay)
    return Projected(rate, start[..., 0], fall[..., 0], sse[..., 0].sum(axis=1), at_edge)


def _sse(epoch: Array, curves: Array, weight: Array, rates: Array, decay: Decay) -> Array:
    """Squared error summed over the curves, (B, R), for `rates` (B, R)."""
    return np.asarray(_linear(epoch, curves, weight, rates, decay)[2].sum(axis=1))


def _linear(epoch: Array, curves: Array, weight: Array, rates: Array, decay: Decay) -> tuple[Array, Array, Array]:
    """Weighted straight-line regression of each curve on decay(r t): start, fall and squared error, (B, C, R)."""
    x = decay(rates[..., None] * epoch)  # (B, R, T)
    total = weight.sum(axis=-1)  # (C,)
    y_mean = np.einsum("bct,ct->bc", curves, weight) / total
    y = curves - y_mean[..., None]
    x_mean = np.einsum("brt,ct->bcr", x, weight) / total[:, None]
    xy = np.einsum("brt,bct,ct->bcr", x, y, weight, optimize=True)
    square = np.einsum("brt,brt,ct->bcr", x, x, weight, optimize=True)
    xx = square - total[:, None] * x_mean**2
    moves = xx > _CONSTANT * square  # a rate so high that all was over before the first point explains nothing
    fall = np.where(moves, xy / np.where(moves, xx, 1.0), 0.0)
    sse = np.einsum("bct,bct,ct->bc", y, y, weight)[..., None] - fall * xy
    return y_mean[..., None] - fall * x_mean, fall, np.maximum(sse, 0.0)
