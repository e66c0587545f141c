"""The best timing of a budget of external data under a fitted model (THEORY section 3, last item; beyond the paper).

Minimise U_s at the horizon over eta_t >= 0 for t = 0 .. T-1 with sum eta_t = H. Under the additive form timing hardly
matters; under the other two a datum buys in proportion to U_v at the moment it arrives, and the inverse form rewards
spreading, so the answer is a front-loaded schedule that only the fitted parameters can tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import LinearConstraint, minimize

from sivgap.dynamics.closed_form import Array, Coupled
from sivgap.dynamics.cross import Form, curves
from sivgap.dynamics.interval import percentile_interval
from sivgap.dynamics.schedules import schedules

_NEGLIGIBLE = 1e-6
"""Shares below this part of the budget are rounding of the optimiser."""


@dataclass(frozen=True)
class Plan:
    """A schedule, its end state, and 90 % intervals over parameter sets (None without them).

    Attributes:
        eta: Share of prompts given external data at the start of each epoch, (T,).
        solver, verifier: U_s and U_v at the horizon: value, low, high.
        excess: U_s at the horizon above the best plan's: value, low, high.
    """

    name: str
    eta: Array
    solver: tuple[float, float | None, float | None]
    verifier: tuple[float, float | None, float | None]
    excess: tuple[float, float | None, float | None]


def end_state(law: Coupled, gamma: Array | float, form: Form, eta: Array) -> tuple[Array, Array]:
    """U_s and U_v at epoch len(eta), for one parameter set or many."""
    arrivals = [(float(t), float(share)) for t, share in enumerate(eta) if share > 0]
    solver, verifier = curves(law, gamma, form, arrivals, np.array([float(len(eta))]))
    return solver[..., 0], verifier[..., 0]


def best_schedule(law: Coupled, gamma: float, form: Form, budget: float, horizon: int) -> Array:
    """The schedule with the lowest U_s at the horizon; SLSQP from the paper's three, and the best of what it finds."""

    def objective(eta: Array) -> float:
        return float(end_state(law, gamma, form, np.maximum(eta, 0.0))[0])

    whole = LinearConstraint(np.ones((1, horizon)), budget, budget)
    starts = [plan for name, plan in schedules(budget, horizon).items() if name != "none"]
    starts.append(np.full(horizon, budget / horizon))
    candidates = list(starts)
    for start in starts:
        inside = 0.9 * start + 0.1 * budget / horizon
        found = minimize(
            objective, inside, method="SLSQP", bounds=[(0.0, budget)] * horizon, constraints=[whole],
            options={"maxiter": 300, "ftol": 1e-12},
        )  # fmt: skip
        eta = np.where(found.x > _NEGLIGIBLE * budget, found.x, 0.0)
        if eta.sum() > 0:
            candidates.append(eta * budget / eta.sum())
    return min(candidates, key=objective)


def compare(
    law: Coupled, gamma: float, form: Form, budget: float, horizon: int, draws: tuple[Coupled, Array] | None = None
) -> list[Plan]:
    """The best plan and the paper's, with their end states; `draws` are parameter sets (D,) and their gamma."""
    plans = {"best": best_schedule(law, gamma, form, budget, horizon), **schedules(budget, horizon)}
    values = {name: end_state(law, gamma, form, eta) for name, eta in plans.items()}
    spread = {} if draws is None else {name: end_state(*draws, form, eta) for name, eta in plans.items()}

    def summary(value: float, name: str, which: int) -> tuple[float, float | None, float | None]:
        return (value, *percentile_interval(spread[name][which])) if spread else (value, None, None)

    return [
        Plan(
            name,
            eta,
            summary(float(values[name][0]), name, 0),
            summary(float(values[name][1]), name, 1),
            (
                float(values[name][0] - values["best"][0]),
                *(percentile_interval(spread[name][0] - spread["best"][0]) if spread else (None, None)),
            ),
        )
        for name, eta in plans.items()
    ]
