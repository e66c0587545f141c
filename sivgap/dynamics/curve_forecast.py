"""Forecast of a single curve of any kind: rising or falling, a share or not (THEORY section 5).

`default` is the forecast of solver and verifier, for one curve. `adaptive` adds what its families do not know, a level
that wanders, a slope that dies out, and an S-shape. Each is weighted by a prior and by how well it forecast, from
earlier points of the same curve, what came after them (rolling origins). A curve that moves by jumps keeps its last
value. The interval is of a future measurement: spread within members and between them, and noise; widened by what
rolling origins missed, the recent ones above all (in the manner of conformal prediction), and never less than a change
that any run may make. The constants were chosen on simulated curves and on runs that others logged; how much
hangs on them is in benchmarks/results/external_curves.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.families import blocks
from sivgap.dynamics.forecast import FEWEST_SEEN, METHOD
from sivgap.dynamics.interval import LEVEL
from sivgap.dynamics.members import MEMBERS, Member
from sivgap.dynamics.orientation import orient
from sivgap.dynamics.shape import jumps, turns

Flags = NDArray[np.bool_]
Method = Literal["default", "adaptive"]

ADAPTIVE = (
    "adaptive: the default's families, a wandering level, a damped slope and an S-shape, weighted by rolling origins"
)
DESCRIPTIONS: dict[Method, str] = {"default": METHOD, "adaptive": ADAPTIVE}


@dataclass(frozen=True)
class Rules:
    """What makes a method.

    Attributes:
        prior: Weight of each member before anything is seen of how it does.
        power: Weights follow the mean squared error to minus half this power.
        hesitation: Rolling origins that the prior is worth.
        turned: Factor of the prior of members that know one direction, where a curve has turned back.
        keeps_jumps: Whether a curve that moves by jumps keeps its last value.
        narrowest: Least factor of the interval; rolling origins may show that it is too wide.
        recent: Power of the share seen by which an origin counts for the interval.
        change: Ranges by which any run may have moved after as much time again, as half an interval. The range is the
            geometric mean of all that was seen and of its latter half: a run that has come to rest moves less.
        widest: Ranges seen that half an interval has at most, after as much time again.
    """

    prior: dict[str, float]
    power: float = 4.0
    hesitation: float = 2.0
    turned: float = 0.2
    keeps_jumps: bool = True
    narrowest: float = 0.7
    recent: float = 2.0
    change: float = 0.2
    widest: float = 1.0


RULES: dict[Method, Rules] = {
    "default": Rules({"families": 1.0}, keeps_jumps=False, narrowest=1.0, recent=0.0, change=0.1, widest=np.inf),
    "adaptive": Rules({"families": 0.3, "level": 0.2, "damped_slope": 0.3, "s_shape": 0.2}),
}

_ONE_WAY = ("families", "s_shape")
"""Members that know one direction."""

_ORIGINS = 10
"""Earlier points from which a curve is forecast to see how well that goes: from a third of it to all but one."""

_MOST_WIDENING = 10.0
_FURTHEST = 4.0
"""Times the time seen: what is asked for after it counts as this in the interval."""


@dataclass(frozen=True)
class CurveForecast:
    """Of B curves at M steps: value and interval (B, M), and the same at the end of time, (B, 3).

    `weights` has the share of each member, (B, K) in the order of `members`; `errors` their root mean squared errors
    at rolling origins, (B, K), NaN where there were none.
    """

    step: Array
    value: Array
    low: Array
    high: Array
    limit: Array
    members: tuple[str, ...]
    weights: Array
    errors: Array


@dataclass(frozen=True)
class _Origin:
    """Members (K, B, M) from the first `seen` points."""

    seen: int
    mean: Array
    variance: Array
    noise: Array


def forecast_curves(step: Array, values: Array, at: Array, method: Method | Rules = "default") -> CurveForecast:
    """Forecast `values` (B, T), seen at `step` (T,), at the later steps `at` (M,), by a method or by other rules.

    Raises:
        ValueError: With fewer points than a forecast needs.
    """
    if len(step) < FEWEST_SEEN:
        raise ValueError(f"{len(step)} points; a forecast needs at least {FEWEST_SEEN}")
    rules = method if isinstance(method, Rules) else RULES[method]
    when, seen = blocks(step - step[0], values)
    orientation = orient(seen)
    span = np.ptp(seen, axis=1)[:, None]
    span = np.where(span > 0, span, 1.0)
    curves = orientation.turned(seen) / span
    asked = np.concatenate([at - step[0], [np.inf]])
    rolled = [_members(rules, when[:n], curves[:, :n], when[n:]) for n in _origins(len(when))]
    final = _members(rules, when, curves, asked)
    errors = np.sqrt(_squared_errors(rolled, curves, len(rules.prior)))
    stays: Flags = jumps(seen) if rules.keeps_jumps else np.zeros(len(seen), dtype=bool)
    prior = _prior(rules, seen)
    weights = _weights(rules, prior, errors**2, len(rolled))
    weights[:, stays] = np.array([[name == "level"] for name in rules.prior])
    share = (weights + prior) / 2  # how members count for the interval
    value, half = _value(final, weights, curves, stays), _half(final, weights, share, curves, stays)
    ahead: Array = np.minimum((asked - when[-1]) / when[-1], _FURTHEST)
    half = half * _widening(rules, rolled, weights, share, curves, stays)[:, None]
    lively = np.ptp(curves[:, len(when) // 2 :], axis=1)[:, None]  # of a range of 1
    moved = rules.change**2 * lively * ahead
    half = np.minimum(np.sqrt(half**2 + moved), rules.widest * np.sqrt(0.5 + ahead))
    ends = [orientation.back(end * span) for end in (value, value - half, value + half)]
    middle, low, high = ends[0], np.minimum(*ends[1:]), np.maximum(*ends[1:])
    return CurveForecast(
        at,
        middle[:, :-1],
        low[:, :-1],
        high[:, :-1],
        np.stack([middle[:, -1], low[:, -1], high[:, -1]], axis=-1),
        tuple(rules.prior),
        weights.T,
        errors.T * span,
    )


def _origins(points: int) -> list[int]:
    first = max(FEWEST_SEEN, points // 3)
    return sorted({int(n) for n in np.linspace(first, points - 1, _ORIGINS)}) if points > first else []


def _members(rules: Rules, when: Array, curves: Array, at: Array) -> _Origin:
    """Every member from the first points of `curves`, which are not turned anew: a forecast knows its direction."""
    found: list[Member] = [MEMBERS[name](when / when[-1], curves, at / when[-1]) for name in rules.prior]
    mean, variance, noise = (np.stack([getattr(m, part) for m in found]) for part in ("mean", "variance", "noise"))
    return _Origin(len(when), mean, variance, noise)


def _squared_errors(rolled: list[_Origin], curves: Array, members: int) -> Array:
    """Mean over origins of each member's mean squared error, (K, B); NaN without origins."""
    if not rolled:
        return np.full((members, len(curves)), np.nan)
    each = [((origin.mean - curves[:, origin.seen :]) ** 2).mean(axis=-1) for origin in rolled]
    return np.asarray(np.mean(each, axis=0))


def _prior(rules: Rules, seen: Array) -> Array:
    """Of each member for each curve, (K, B)."""
    turned = turns(seen).turned
    rows = [w * np.where(turned & (name in _ONE_WAY), rules.turned, 1.0) for name, w in rules.prior.items()]
    return np.asarray(np.stack(rows) / np.sum(rows, axis=0))


def _weights(rules: Rules, prior: Array, errors: Array, origins: int) -> Array:
    """Of each member, (K, B)."""
    if not origins:
        return prior.copy()
    least = np.maximum(errors, 1e-300).min(axis=0)
    power = rules.power / 2 * origins / (origins + rules.hesitation)
    weight = prior * (np.maximum(errors, 1e-300) / least) ** -power
    return np.asarray(weight / weight.sum(axis=0))


def _value(origin: _Origin, weights: Array, curves: Array, stays: Flags) -> Array:
    """The forecast, (B, M)."""
    value = np.einsum("kb,kbm->bm", weights, origin.mean)
    return np.where(stays[:, None], curves[:, origin.seen - 1, None], value)


def _half(origin: _Origin, weights: Array, share: Array, curves: Array, stays: Flags) -> Array:
    """Half of the interval before it is widened, (B, M)."""
    value = _value(origin, weights, curves, stays)
    within = origin.variance + (origin.mean - value) ** 2 + origin.noise[..., None]
    return np.asarray(ndtri((1 + LEVEL) / 2) * np.sqrt(np.einsum("kb,kbm->bm", share, within)))


def _widening(rules: Rules, rolled: list[_Origin], weights: Array, share: Array, curves: Array, stays: Flags) -> Array:
    """Factor with which intervals would have held `LEVEL` of what followed earlier forecasts, (B,)."""
    if not rolled:
        return np.ones(len(curves))
    scores, counts = [], []
    for origin in rolled:
        half = _half(origin, weights, share, curves, stays)
        miss = np.abs(curves[:, origin.seen :] - _value(origin, weights, curves, stays))
        scores.append(miss / np.maximum(half, 1e-300))
        points = miss.shape[1]
        counts.append(np.full(points, (origin.seen / curves.shape[1]) ** rules.recent / np.sqrt(points)))
    score, count = np.concatenate(scores, axis=1), np.concatenate(counts)
    order = np.argsort(score, axis=1)
    total = np.cumsum(count[order], axis=1)
    place = (total < LEVEL * total[:, -1:]).sum(axis=1, keepdims=True)
    factor = np.take_along_axis(np.take_along_axis(score, order, 1), place, 1)[:, 0]
    return np.asarray(np.clip(factor, rules.narrowest, _MOST_WIDENING))
