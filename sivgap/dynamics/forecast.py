"""What will happen: the default forecast with its 90 % interval, and all forecasters side by side (THEORY section 5).

The coupled law explains; it does not forecast best. The default is the median of four families of curves (exponential,
power law, stretched exponential, two shared rates), each averaged over its shapes. It was chosen on simulated
trajectories (benchmarks/dynamics_study.py): no family, nor their mean, nor weights by held-out error did better there.
Its interval holds a future measurement of the same panel: spread within the families, between them, and measurement
noise; shapes with rising parts count in it. Where forecasts from earlier points of the same run would have missed more
than they should, it is widened by as much (rolling origins, in the manner of conformal prediction).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.families import (
    COUPLED,
    EXPONENTIAL,
    POWER_LAW,
    STRETCHED,
    TWO_RATES,
    Family,
    blocks,
    predict,
)
from sivgap.dynamics.interval import LEVEL

Forecaster = Callable[[Array, Array, Array], Array]
"""(epochs seen (T,), curves seen (B, C, T), epochs asked for (M,)) -> values (B, C, M)."""

MEMBERS = (EXPONENTIAL, POWER_LAW, STRETCHED, TWO_RATES)
METHOD = "median of exponential, power law, stretched exponential and two shared rates"

FEWEST_SEEN = 4
"""Points that a family needs before it is asked."""

_RISING = 0.05
"""Prior weight, in intervals, of shapes with rising parts beside those that fall."""

_ORIGINS = 5
"""Earlier points of a run from which it is forecast to see how well that goes."""

_MOST_WIDENING = 10.0
"""A forecast that went worse than this is no forecast."""

_LINE_POINTS = 5
"""Latest points that the local line is drawn through."""


@dataclass(frozen=True)
class Forecast:
    """Of U_s, U_v and their gap, (..., 3, M): the value, and the ends of the interval for a future measurement.

    `limit` holds the same at the end of time, (..., 3, 3): value, low, high; of the curve itself, without noise.
    """

    epoch: Array
    value: Array
    low: Array
    high: Array
    limit: Array


def forecast(epoch: Array, curves: Array, at: Array, noise: bool = True) -> Forecast:
    """Forecast solver and verifier `curves` (B, 2, T), seen at `epoch` (T,), at the later epochs `at` (M,).

    Without `noise` the interval is of the curve, not of a future measurement of it.
    """
    value, curve, scatter = _raw(epoch, curves, at)
    half = ndtri((1 + LEVEL) / 2) * _widening(epoch, curves)[..., None]
    smooth = half * np.sqrt(curve)
    wide = half * np.sqrt(curve + scatter[..., None]) if noise else smooth
    low, high = _above_zero(value - wide), value + wide
    ends = _above_zero(value - smooth)[..., -1], (value + smooth)[..., -1]
    limit = np.stack([value[..., -1], *ends], axis=-1)
    return Forecast(at, value[..., :-1], low[..., :-1], high[..., :-1], limit)


def _raw(epoch: Array, curves: Array, at: Array) -> tuple[Array, Array, Array]:
    """Of U_s, U_v and gap at `at` and at the end of time: value and its variance (B, 3, M + 1), noise (B, 3)."""
    u, seen, ahead = _relative(epoch, curves, at)
    times = np.concatenate([ahead, [np.inf]])
    value, curve, scatter = combined(u, seen, times, positive=True)
    gaps = combined(u, seen[:, :1] - seen[:, 1:], times, positive=False)
    gap = value[:, :1] - value[:, 1:]
    apart = np.sqrt(curve).sum(axis=1, keepdims=True) ** 2  # the most that two errors can add up to
    return (
        np.concatenate([value, gap], axis=1),
        np.concatenate([curve, np.minimum(gaps[1] + (gaps[0] - gap) ** 2, apart)], axis=1),
        np.concatenate([scatter, gaps[2]], axis=1),
    )


def ends_of(epoch: Array, curves: Array) -> Array:
    """Where the forecasts of `curves` (B, 2, T) end, without intervals: U_s, U_v and gap, (B, 3)."""
    u, seen, _ = _relative(epoch, curves, epoch[-1:])
    end = np.median([predict(family, u, seen, np.array([np.inf])).mean for family in MEMBERS], axis=0)[..., 0]
    return np.concatenate([end, end[:, :1] - end[:, 1:]], axis=1)


def _widening(epoch: Array, curves: Array) -> Array:
    """By how much intervals must be widened for `LEVEL` of what followed earlier forecasts to be in them, (B, 3)."""
    when, seen = blocks(epoch, curves)
    starts = _origins(len(when), _ORIGINS)
    if not starts:
        return np.ones((len(curves), 3))
    truth = np.concatenate([seen, seen[:, :1] - seen[:, 1:]], axis=1)
    scores = []
    for n in starts:
        value, curve, scatter = _raw(when[:n], seen[..., :n], when[n:])
        half = ndtri((1 + LEVEL) / 2) * np.sqrt(curve + scatter[..., None])[..., :-1]
        scores.append(np.abs(truth[..., n:] - value[..., :-1]) / np.maximum(half, 1e-300))
    return np.asarray(np.clip(np.quantile(np.concatenate(scores, axis=-1), LEVEL, axis=-1), 1.0, _MOST_WIDENING))


def _above_zero(low: Array) -> Array:
    """U_s and U_v are not negative; the gap may be."""
    return np.concatenate([np.maximum(low[:, :2], 0.0), low[:, 2:]], axis=1)


def _origins(points: int, count: int) -> list[int]:
    """Lengths of beginnings from which the rest of so many points is forecast: from half of it to all but one."""
    first = max(FEWEST_SEEN, points // 2)
    return sorted({int(m) for m in np.linspace(first, points - 1, count)}) if points > first else []


def combined(u: Array, seen: Array, times: Array, positive: bool) -> tuple[Array, Array, Array]:
    """Median of the families, variance of the curve around it, and noise variance."""
    means = [predict(family, u, seen, times, positive).mean for family in MEMBERS]
    value = np.median(np.stack(means), axis=0)
    members = [predict(family, u, seen, times, positive, _RISING) for family in MEMBERS]
    curve = np.mean([m.variance + (m.mean - value) ** 2 for m in members], axis=0)
    return value, curve, np.mean([member.noise for member in members], axis=0)


def _relative(epoch: Array, curves: Array, at: Array) -> tuple[Array, Array, Array]:
    """Time in units of the epochs seen, and long series in blocks."""
    when, seen = blocks(epoch, curves)
    span = epoch[-1] if epoch[-1] > 0 else 1.0
    return when / span, seen, at / span


def of_family(family: Family) -> Forecaster:
    """A family's own forecast, averaged over its shapes."""

    def forecaster(epoch: Array, curves: Array, at: Array) -> Array:
        u, seen, ahead = _relative(epoch, curves, at)
        return predict(family, u, seen, ahead).mean

    return forecaster


def combination(epoch: Array, curves: Array, at: Array) -> Array:
    """The default forecast without its interval."""
    u, seen, ahead = _relative(epoch, curves, at)
    return np.median([predict(family, u, seen, ahead).mean for family in MEMBERS], axis=0)


def local_line(epoch: Array, curves: Array, at: Array) -> Array:
    """The least-squares line through the latest points."""
    t, y = epoch[-_LINE_POINTS:], curves[..., -_LINE_POINTS:]
    slope = ((t - t.mean()) * (y - y.mean(-1, keepdims=True))).sum(-1) / ((t - t.mean()) ** 2).sum()
    return np.asarray(y.mean(-1)[..., None] + slope[..., None] * (at - t.mean()), dtype=np.float64)


def last_value(epoch: Array, curves: Array, at: Array) -> Array:
    """Nothing changes any more."""
    return np.repeat(curves[..., -1:], len(at), axis=-1)


FAMILIES = (COUPLED, *MEMBERS)

FORECASTERS: dict[str, Forecaster] = {
    **{family.name: of_family(family) for family in FAMILIES},
    "local_line": local_line,
    "last_value": last_value,
    "combination": combination,
}


def held_out_errors(epoch: Array, curves: Array, origins: int = 6) -> dict[str, float | None]:
    """Root mean squared error (nats) of each forecaster on what it had not seen, over rolling origins.

    Each of `origins` starting points, from the middle of the run to its last point but one, forecasts all that follows;
    `curves` is (C, T). None where too little was seen.
    """
    starts = _origins(len(epoch), origins)
    errors: dict[str, list[float]] = {name: [] for name in FORECASTERS}
    for seen in starts:
        for name, forecaster in FORECASTERS.items():
            said = forecaster(epoch[:seen], curves[None, :, :seen], epoch[seen:])[0]
            errors[name].append(float(np.mean((said - curves[:, seen:]) ** 2)))
    return {name: float(np.sqrt(np.mean(found))) if found else None for name, found in errors.items()}
