"""Families of curves for forecasting, each linear in its limit and falls once its few shape parameters are fixed.

A family is solved exactly at every point of a grid of shapes, for many data sets at once. Its forecast is the average
over the grid, each shape weighted by how well it explains what was seen (its likelihood with the noise level
integrated out); that average says how uncertain it is, too. Shapes whose limit is negative are left out wherever others
remain, since an uncertainty cannot be negative. Shapes with rising parts count by a prior weight, which is 0 for the
value of a forecast (best on real curves) and not for its interval: models do collapse.

Time is measured in units of the epochs seen, so the grids fit any run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sivgap.dynamics.closed_form import Array

MOST_POINTS = 200
"""Longer series are averaged in blocks before a forecast: it gains nothing from more, and the grids cost memory."""

_EXACT = 1e-9
"""Squared errors closer than this to the best one, relatively, count as equal: exact data would divide by zero."""


@dataclass(frozen=True)
class Family:
    """Curves a + sum_i c_i phi_i(u; shape).

    Attributes:
        name: As in ``fit.json``.
        shapes: Number of shape parameters.
        shared: Whether solver and verifier have the same shape (one physical process) or each its own.
        basis: u (T,) -> (J, T, q): the constant and the falling parts of each of J shapes. u may be infinite.
    """

    name: str
    shapes: int
    shared: bool
    basis: Callable[[Array], Array]

    def parameters(self, curves: int) -> int:
        """Free parameters of a fit to so many curves."""
        parts = int(self.basis(np.ones(1)).shape[-1])
        return curves * parts + self.shapes * (1 if self.shared else curves)


@dataclass(frozen=True)
class Prediction:
    """Of one family for B data sets of C curves at M times.

    Attributes:
        mean: Average over shapes, (B, C, M). variance: of the curve, (B, C, M). noise: variance of a measurement
            around it, (B, C). sse: squared error of the best shape, (B, C).
    """

    mean: Array
    variance: Array
    noise: Array
    sse: Array


def exponential(u: Array) -> Array:
    """exp(-r u)."""
    return _with_constant(np.exp(-_RATES[:, None] * u))


def power_law(u: Array) -> Array:
    """(1 + u / tau)^-p, the form a + c (t + tau)^-p of THEORY section 5."""
    power, delay = _pairs((0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5), np.geomspace(0.01, 4, 24))
    return _with_constant((1 + u / delay) ** -power)


def stretched(u: Array) -> Array:
    """exp(-(r u)^s), s <= 1."""
    stretch, rate = _pairs((0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0), np.geomspace(0.1, 60, 32))
    return _with_constant(np.exp(-((rate * u) ** stretch)))


def two_rates(u: Array) -> Array:
    """exp(-r_1 u) and exp(-r_2 u): a general linear system of two equations, whose rank-one case is the coupled law."""
    rates = np.geomspace(0.15, 40, 20)
    slow, fast = (rates[np.array(i)][:, None] for i in zip(*_APART, strict=True))
    return _with_constant(np.exp(-slow * u), np.exp(-fast * u))


def delayed(u: Array) -> Array:
    """1 - (1 - exp(-r u))^k: an S-shape that starts flat, turns at u = log(k) / r, and then is the exponential's."""
    turn, rate = _pairs((0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0), np.geomspace(1, 40, 16))
    power = np.exp(np.minimum(turn * rate, 30.0))
    with np.errstate(divide="ignore"):
        return _with_constant(-np.expm1(power * np.log(-np.expm1(-rate * u))))


_RATES = np.geomspace(0.15, 40, 48)
_APART = [(i, j) for i in range(20) for j in range(i + 2, 20)]

COUPLED = Family("coupled_ode", 1, True, exponential)
EXPONENTIAL = Family("exponential", 1, False, exponential)
POWER_LAW = Family("power_law", 2, False, power_law)
STRETCHED = Family("stretched_exponential", 2, False, stretched)
DELAYED = Family("delayed_exponential", 2, False, delayed)
TWO_RATES = Family("two_shared_rates", 2, True, two_rates)


def predict(
    family: Family,
    u: Array,
    curves: Array,
    at: Array,
    positive: bool = True,
    rising: float = 0.0,
    reach: float | None = None,
) -> Prediction:
    """Fit `family` to `curves` (B, C, T) seen at `u` (T,), and predict at `at` (M,), which may be infinite.

    With `positive`, negative limits are left out, and shapes with rising parts have the prior weight `rising` beside 1
    for the others. With `reach`, how far a shape still has to go has a normal prior of so many ranges seen.
    """
    q, r = _decomposed(family, u.tobytes(), len(u))
    ahead = family.basis(at)
    projected = np.einsum("jtq,bct->bcjq", q, curves, optimize=True)
    sse = np.maximum((curves**2).sum(-1)[..., None] - (projected**2).sum(-1), 0.0)
    coefficient = np.linalg.solve(r, projected[..., None])[..., 0]
    forecast = np.einsum("jmq,bcjq->bcjm", ahead, coefficient, optimize=True)
    leverage = (np.linalg.solve(np.swapaxes(r, 1, 2), np.swapaxes(ahead, 1, 2)) ** 2).sum(axis=1)  # (J, M)
    near = np.ones(sse.shape) if reach is None else _nearness(family, u, curves, coefficient, reach)
    weight, best = _weights(family, sse, coefficient, len(u), positive, rising, near)
    freedom = max(len(u) - q.shape[-1] - family.shapes, 1)
    mean = np.einsum("bcj,bcjm->bcm", weight, forecast)
    spread = np.einsum("bcj,bcjm->bcm", weight, (forecast - mean[:, :, None]) ** 2)
    estimation = np.einsum("bcj,jm->bcm", weight * sse / freedom, leverage)
    return Prediction(
        mean,
        spread + estimation,
        (weight * sse).sum(-1) / freedom,
        np.take_along_axis(sse, best[..., None], 2)[..., 0],
    )


def _weights(
    family: Family, sse: Array, coefficient: Array, points: int, positive: bool, rising: float, near: Array
) -> tuple[Array, NDArray[np.intp]]:
    """Weight of each shape, (B, C, J), and the best one, (B, C)."""
    prior = near
    if positive:
        prior = prior * np.where((coefficient[..., 1:] < 0).any(-1), rising, 1.0) * (coefficient[..., 0] >= 0)
    freedom = max(points - coefficient.shape[-1], 1)
    error = sse
    if family.shared:
        curves = sse.shape[1]
        error = np.broadcast_to(sse.sum(1, keepdims=True), sse.shape)
        prior = np.broadcast_to(prior.min(1, keepdims=True), sse.shape)
        freedom *= curves
    prior = np.where((prior == 0).all(-1, keepdims=True), 1.0, prior)
    error = np.where(prior == 0, np.inf, error)
    least = error.min(-1, keepdims=True)
    relative = error / np.maximum(least, 1e-300)
    weight = prior * np.exp(-freedom / 2 * np.log(relative + _EXACT) + freedom / 2 * np.log1p(_EXACT))
    return weight / weight.sum(-1, keepdims=True), error.argmin(-1)


def _nearness(family: Family, u: Array, curves: Array, coefficient: Array, reach: float) -> Array:
    """Prior weight of each shape, (B, C, J), by how far it still has to go, in units of `reach` ranges seen."""
    now, end = family.basis(np.array([u[-1], np.inf])).transpose(1, 0, 2)  # (J, q) each
    remaining = np.einsum("bcjq,jq->bcj", coefficient, now - end)
    ranges = np.abs(remaining) / np.maximum(reach * np.ptp(curves, axis=-1)[..., None], 1e-300)
    return np.asarray(np.exp(-0.5 * np.minimum(ranges, 30.0) ** 2))


def blocks(epoch: Array, curves: Array) -> tuple[Array, Array]:
    """At most `MOST_POINTS` points: means over blocks of consecutive ones."""
    if len(epoch) <= MOST_POINTS:
        return epoch, curves
    edges = np.linspace(0, len(epoch), MOST_POINTS + 1).astype(int)[:-1]
    size = np.diff([*edges, len(epoch)])
    return np.add.reduceat(epoch, edges) / size, np.add.reduceat(curves, edges, axis=-1) / size


@cache
def _decomposed(family: Family, u: bytes, points: int) -> tuple[Array, Array]:
    """QR decomposition of each shape's basis at the times seen."""
    q, r = np.linalg.qr(family.basis(np.frombuffer(u, dtype=np.float64, count=points)))
    return q, r


def _with_constant(*parts: Array) -> Array:
    return np.stack([np.ones_like(parts[0]), *parts], axis=-1)


def _pairs(first: tuple[float, ...], second: Array) -> tuple[Array, Array]:
    """Every combination, as columns."""
    a, b = np.meshgrid(np.array(first), second, indexing="ij")
    return a.reshape(-1, 1), b.reshape(-1, 1)
