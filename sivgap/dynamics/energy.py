"""The law with an energy of any power, E = k (G - G_inf)^p, of which the paper's is p = 1 (THEORY section 6).

Solved exactly: with r = k (alpha - beta) delta^(p - 1),

    G - G_inf = delta (1 + (p - 1) r t)^(-1 / (p - 1))

p -> 1 is the exponential, p > 1 a power law, p < 1 ends in finite time. U_s and U_v fall by the same shape, so for a
given p and r everything else is linear, as in `projection`. The tail decides the limits: print both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import f as f_distribution

from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.gls import PromptCovariance
from sivgap.dynamics.goodness import aicc
from sivgap.dynamics.interval import LEVEL, percentile_interval
from sivgap.dynamics.projection import Decay, Projected, project

EXPONENTS = 1.08 ** np.arange(-15.0, 19.0)
"""Exponents that are tried, from .32 to 4."""

_AROUND = np.geomspace(0.65, 1.55, 27)
"""Rates tried for resampled prompts, in units of that of all prompts."""

_LOG_ENDS = float(np.log(EXPONENTS[0])), float(np.log(EXPONENTS[-1]))

_STARTS = (0.8, 1.25, 2.0)
"""Exponents from which generalised least squares looks for a better one."""

_NEAR = 1e-6
"""Exponents closer to 1 than this are 1."""


@dataclass(frozen=True)
class Exponent:
    """p = 1 and free p beside each other.

    Attributes:
        value: The exponent, by least squares.
        low, high: 90 %: over prompts where they are known, else by the squared error with independent residuals. At
            `at_edge` it is where the search ended: the data do not bound it.
        rate: At free p, the share of the distance that the first moment covers, an epoch.
        limits_fixed, limits_free: Ends of solver, verifier and gap with p = 1 and with free p, nats.
        limit_intervals: 90 % of the latter, over prompts; empty without them.
        aicc_gain: AICc at p = 1 minus AICc at free p; positive favours free p. None with too few points.
        p_value: Of p = 1; None where it cannot be tested.
    """

    value: float
    low: float
    high: float
    at_edge: bool
    rate: float
    limits_fixed: dict[str, float]
    limits_free: dict[str, float]
    limit_intervals: dict[str, tuple[float, float]]
    aicc_gain: float | None
    p_value: float | None


def decay(exponent: float) -> Decay:
    """How far a curve has come at r t under the `exponent`: 0 at the start, -1 at the limit."""
    excess = exponent - 1
    if abs(excess) < _NEAR:
        return lambda x: np.asarray(np.expm1(-x))

    def power(x: Array) -> Array:
        with np.errstate(divide="ignore"):
            return np.asarray(np.expm1(-np.log1p(np.maximum(excess * x, -1.0)) / excess))

    return power


def fit_exponent(
    epoch: Array, curves: Array, weights: Array | None = None, draws: Array | None = None,
    covariance: PromptCovariance | None = None,
) -> Exponent:  # fmt: skip
    """Least squares over p.

    Args:
        epoch: (T,). curves: Solver and verifier, (2, T). weights: (2, T), as in `project`.
        draws: Curves of resampled prompts, (B, 2, T), for intervals over prompts.
        covariance: Of the curves over prompts, for the test of p = 1; without it residuals are taken as independent.
    """
    found = {float(p): project(epoch, curves[None], weights, decay(p)) for p in EXPONENTS}
    errors = np.array([float(one.sse[0]) for one in found.values()])
    best = int(errors.argmin())
    at_edge = best in (0, len(EXPONENTS) - 1)
    value = float(EXPONENTS[best])
    if not at_edge:
        value = float(np.exp(minimize_scalar(
            lambda log_p: float(project(epoch, curves[None], weights, decay(float(np.exp(log_p)))).sse[0]),
            bounds=(np.log(EXPONENTS[best - 1]), np.log(EXPONENTS[best + 1])), method="bounded",
            options={"xatol": 1e-4},
        ).x))  # fmt: skip
    free, fixed = project(epoch, curves[None], weights, decay(value)), project(epoch, curves[None], weights)
    points, freedom = curves.size, curves.size - 6
    least = min(float(free.sse[0]), float(errors.min()))
    limit_intervals: dict[str, tuple[float, float]] = {}
    if draws is not None:
        centres = np.array([float(one.rate[0]) for one in found.values()])
        drawn, ends = _on_grid(epoch, draws, weights, centres)
        low, high = percentile_interval(drawn)
        limit_intervals = {name: percentile_interval(ends[i]) for i, name in enumerate(("solver", "verifier", "gap"))}
    elif freedom > 0:
        bound = least * (1 + float(f_distribution.ppf(LEVEL, 1, freedom)) / freedom)
        inside = EXPONENTS[errors <= bound]
        low, high = (float(inside.min()), float(inside.max())) if len(inside) else (value, value)
    else:
        low, high = float(EXPONENTS[0]), float(EXPONENTS[-1])
    criteria = [aicc(float(sse), points, k) for sse, k in ((fixed.sse[0], 5), (least, 6))]
    gain = None if criteria[0] is None or criteria[1] is None else criteria[0] - criteria[1]
    if covariance is not None:
        p_value = exponent_test(epoch, curves, covariance)
    elif freedom > 0 and least > 0:
        statistic = max(float(fixed.sse[0]) - least, 0.0) / (least / freedom)
        p_value = float(f_distribution.sf(statistic, 1, freedom))
    else:
        p_value = None
    edges = low <= EXPONENTS[0] or high >= EXPONENTS[-1]
    return Exponent(
        value, min(low, value), max(high, value), at_edge or bool(edges), float(free.rate[0]),
        _limits(fixed), _limits(free), limit_intervals, gain, p_value,
    )  # fmt: skip


def exponent_test(epoch: Array, curves: Array, covariance: PromptCovariance) -> float | None:
    """p value of p = 1 for solver and verifier `curves` (2, T), by generalised least squares."""

    def law(parameters: Array) -> Array:
        solver, solver_fall, verifier, verifier_fall, log_rate = parameters[:5]
        power = float(np.exp(np.clip(parameters[5], *_LOG_ENDS))) if len(parameters) > 5 else 1.0
        come = decay(power)(np.exp(log_rate) * epoch)
        return np.concatenate([solver + solver_fall * come, verifier + verifier_fall * come])

    fixed = project(epoch, curves[None])
    (solver, verifier), (solver_fall, verifier_fall) = fixed.start[0], fixed.fall[0]
    start = np.array([solver, solver_fall, verifier, verifier_fall, np.log(fixed.rate[0])])
    restricted, found = covariance.misfit(curves.ravel(), law, start)
    full = min(covariance.misfit(curves.ravel(), law, np.append(found, np.log(p)))[0] for p in _STARTS)
    return covariance.compare(restricted, full, 6)


def _limits(found: Projected) -> dict[str, float]:
    solver, verifier = (found.start - found.fall)[0]
    return {"solver": float(solver), "verifier": float(verifier), "gap": float(solver - verifier)}


def _on_grid(epoch: Array, curves: Array, weights: Array | None, centres: Array) -> tuple[Array, Sequence[Array]]:
    """The best exponent on the grid and its limits (solver, verifier, gap) for each of B data sets (B, 2, T).

    Rates are tried around `centres` (E,), those of the exponents for all prompts.
    """
    weight = np.ones(curves.shape[1:]) if weights is None else weights
    rates = centres[:, None] * _AROUND
    pairs = zip(EXPONENTS, rates, strict=True)
    shapes = np.concatenate([decay(float(p))(r[:, None] * epoch) for p, r in pairs])  # (J, T)
    total, falls = 0.0, []
    for c in range(curves.shape[1]):
        w, y = weight[c], curves[:, c]
        centred = shapes - (shapes @ w / w.sum())[:, None]
        spread = (centred**2 * w).sum(axis=1)
        moves = spread > 1e-12 * (shapes**2 * w).sum(axis=1)
        fall = np.where(moves, (y @ (w * centred).T) / np.where(moves, spread, 1.0), 0.0)  # (B, J)
        total = total - fall**2 * spread
        falls.append(fall)
    best = np.asarray(total).argmin(axis=1)
    ends = []
    for c, fall in enumerate(falls):
        w = weight[c] / weight[c].sum()
        chosen = fall[np.arange(len(best)), best]
        ends.append(curves[:, c] @ w - chosen * ((shapes @ w)[best] + 1))
    return EXPONENTS[best // len(_AROUND)], (ends[0], ends[1], ends[0] - ends[1])
