"""The joint fit: one shared rate for solver and verifier, the gap as their difference (THEORY section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import lmfit
import numpy as np

from sivgap.dynamics.closed_form import Array, Coupled

FEWEST_POINTS = 4
"""Epochs below which five parameters cannot be fitted to two curves with anything left to judge the fit by."""

RATE_GRID = np.geomspace(0.01, 10.0, 60)
"""Rates, per epoch, at which the problem, linear in all other parameters, is solved exactly to find the start."""


@dataclass(frozen=True)
class CoupledFit:
    """Parameters, their standard errors (None where the covariance is singular), and R^2 of each curve."""

    parameters: Coupled
    stderr: dict[str, float | None]
    r2: dict[str, float]


def fit_coupled(epoch: Array, solver: Array, verifier: Array) -> CoupledFit | None:
    """Unweighted joint least squares of both curves; None below `FEWEST_POINTS` points or for constant curves.

    Args:
        epoch: Epochs, (T,).
        solver: U_s in nats, (T,).
        verifier: U_v in nats, (T,).
    """
    if len(epoch) < FEWEST_POINTS or min(np.ptp(solver), np.ptp(verifier)) == 0:
        return None
    names = ("solver_initial", "solver_fall", "verifier_initial", "verifier_fall", "rate")
    start = min((_linear(rate, epoch, solver, verifier) for rate in RATE_GRID), key=lambda found: found[0])
    parameters = lmfit.Parameters()
    for name, value in zip(names, start[1], strict=True):
        parameters.add(name, value=value)
    parameters["rate"].set(min=1e-6)

    def residual(p: lmfit.Parameters) -> Array:
        decay = np.expm1(-p["rate"].value * epoch)
        return np.concatenate(
            [
                p["solver_initial"].value + p["solver_fall"].value * decay - solver,
                p["verifier_initial"].value + p["verifier_fall"].value * decay - verifier,
            ]
        )

    found = lmfit.minimize(residual, parameters, method="leastsq")
    fitted = {name: float(found.params[name].value) for name in names}
    gap_limit = (fitted["solver_initial"] - fitted["solver_fall"]) - (
        fitted["verifier_initial"] - fitted["verifier_fall"]
    )
    rho = fitted["verifier_fall"] / fitted["solver_fall"]
    coupled = Coupled(fitted["solver_initial"], fitted["verifier_initial"], gap_limit, fitted["rate"], rho)
    curves = {
        "solver": (solver, coupled.solver(epoch)),
        "verifier": (verifier, coupled.verifier(epoch)),
        "gap": (solver - verifier, coupled.gap(epoch)),
    }
    return CoupledFit(
        coupled,
        {name: found.params[name].stderr for name in ("solver_initial", "verifier_initial", "rate")},
        {who: r_squared(seen, law) for who, (seen, law) in curves.items()},
    )


def r_squared(seen: Array, fitted: Array) -> float:
    """1 - residual sum of squares / total sum of squares."""
    return float(1 - np.sum((seen - fitted) ** 2) / np.sum((seen - seen.mean()) ** 2))


def _linear(rate: float, epoch: Array, solver: Array, verifier: Array) -> tuple[float, list[float]]:
    """For a fixed rate: the squared error and (solver start, fall, verifier start, fall, rate)."""
    design = np.column_stack([np.ones_like(epoch), np.expm1(-rate * epoch)])
    both = np.column_stack([solver, verifier])
    solution, *_ = np.linalg.lstsq(design, both, rcond=None)
    error = float(np.sum((design @ solution - both) ** 2))
    return error, [*solution[:, 0], *solution[:, 1], rate]
