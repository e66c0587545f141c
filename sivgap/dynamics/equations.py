"""The differential equations, for any energy f(G), and their unit-step map (SV Eq. 9-12; THEORY section 2)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.integrate import solve_ivp

from sivgap.dynamics.closed_form import Array, Rates

Energy = Callable[[float], float]

_RELATIVE, _ABSOLUTE = 1e-11, 1e-13
"""Tolerances of the integrator: beyond what a figure or a fit can see."""


def linear_energy(k: float, b: float) -> Energy:
    """E = k G - b (SV Eq. 11)."""
    return lambda gap: k * gap - b


def tangent(energy: Energy, gap: float, step: float = 1e-6) -> tuple[float, float]:
    """(k, b) of the tangent to a non-linear `energy` at the initial `gap`: k = f'(G_0), b = f'(G_0) G_0 - f(G_0).

    The derivative is a central difference of relative width `step`.
    """
    width = step * max(1.0, abs(gap))
    k = (energy(gap + width) - energy(gap - width)) / (2 * width)
    return k, k * gap - energy(gap)


def integrate(
    t: Array, solver_initial: float, verifier_initial: float, alpha: float, beta: float, energy: Energy
) -> tuple[Array, Array]:
    """U_s and U_v at the ascending epochs `t`, the first of which is the start; scipy's DOP853.

    Raises:
        ValueError: If the integration fails, as it does for an energy without bound.
    """

    def flow(_: float, state: Array) -> list[float]:
        force = energy(float(state[0] - state[1]))
        return [-alpha * force, -beta * force]

    start = [solver_initial, verifier_initial]
    found = solve_ivp(flow, (t[0], t[-1]), start, method="DOP853", t_eval=t, rtol=_RELATIVE, atol=_ABSOLUTE)
    if not found.success:
        raise ValueError(f"the equations cannot be integrated to epoch {t[-1]:g}: {found.message}")
    return found.y[0], found.y[1]


def discrete(steps: int, solver_initial: float, verifier_initial: float, rates: Rates) -> tuple[Array, Array]:
    """The unit-step map, U_s -> U_s - alpha (k G - b) and likewise U_v, at epochs 0 .. `steps`.

    Its gap shrinks by the factor 1 - k (alpha - beta) an epoch. The continuous law of the same shrinkage has the rate
    `continuous_rate` of it, which is larger.
    """
    solver, verifier = np.empty(steps + 1), np.empty(steps + 1)
    solver[0], verifier[0] = solver_initial, verifier_initial
    for t in range(steps):
        force = rates.k * (solver[t] - verifier[t]) - rates.b
        solver[t + 1] = solver[t] - rates.alpha * force
        verifier[t + 1] = verifier[t] - rates.beta * force
    return solver, verifier


def continuous_rate(per_epoch: float) -> float:
    """The continuous rate r of a discrete one: exp(-r) = 1 - `per_epoch`. Needs 0 < per_epoch < 1."""
    return float(-np.log1p(-per_epoch))


def discrete_rate(rate: float) -> float:
    """The share of the distance to its limit that a curve with the continuous `rate` covers in one epoch."""
    return float(-np.expm1(-rate))
