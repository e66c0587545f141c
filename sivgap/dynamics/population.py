"""Intervals for the population of prompts: resample the panel's prompts, refit the law (THEORY section 7).

A panel's prompts and random numbers are the same at every epoch, so most of the error of a level, a limit or a rate is
which prompts the panel has, and residuals around the curve do not show it. All seeds, strategies and epochs share the
panel: one draw of prompts serves them all. Several seeds are resampled as well, independently of the prompts (the
"pigeonhole" bootstrap of Owen 2007, slightly too wide rather than too narrow).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sivgap.dynamics.closed_form import Array, Coupled
from sivgap.dynamics.influence import derivatives
from sivgap.dynamics.interval import bca_interval, effective_freedom
from sivgap.dynamics.phase_plane import bend
from sivgap.dynamics.projection import Projected, project

FEWEST_PROMPTS = 10
"""Prompts below which resampling them says nothing."""


@dataclass(frozen=True)
class PromptCurves:
    """U_s and U_v of every prompt of a panel, (P, T) each, nats, of one run; `ids` name the prompts."""

    solver: Array
    verifier: Array
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Resampled:
    """One quantity over the population: its standard error, 90 % interval, and freedom of the standard error."""

    value: float
    stderr: float
    low: float
    high: float
    freedom: float


@dataclass(frozen=True)
class Population:
    """What resampled prompts say.

    Attributes:
        quantities: By name: the five parameters, ``solver_limit``, ``verifier_limit``, ``log_rate_ratio`` (log of the
            solver's rate over the verifier's, each fitted alone) and ``bend`` (`phase_plane`). A quantity that most
            draws do not determine is missing.
        curves: Mean curves of the draws, (B, 2, T).
        over: What was resampled: ``prompts``, or ``seeds and prompts``.
    """

    quantities: dict[str, Resampled]
    curves: Array
    over: str


def resample(rng: np.random.Generator, draws: int, size: int) -> Array:
    """How often each of `size` things is drawn, (draws, size)."""
    return rng.multinomial(size, np.full(size, 1 / size), size=draws).astype(np.float64)


def same_panel(seeds: Sequence[PromptCurves]) -> bool:
    """Whether all were measured on the same prompts, enough of them to be resampled."""
    first = seeds[0]
    return len(first.solver) >= FEWEST_PROMPTS and all(
        one.ids == first.ids and one.solver.shape == first.solver.shape for one in seeds
    )


def over_population(
    epoch: Array, seeds: Sequence[PromptCurves], draws: int, seed: int, weights: Array | None = None
) -> Population:
    """Refit the law to curves averaged over resampled prompts, one draw for all `seeds`, which are resampled, too.

    Args:
        epoch: (T,), the epochs of all `seeds`, which share a panel (`same_panel`).
        weights: Of the squared errors, (2, T); None weighs all points alike.
    """
    rng = np.random.default_rng(seed)
    values = np.stack([np.concatenate([one.solver, one.verifier], axis=1) for one in seeds])  # (S, P, 2T)
    prompts = resample(rng, draws, values.shape[1]) / values.shape[1]
    share = resample(rng, draws, len(seeds)) / len(seeds)
    drawn = np.asarray(sum(share[:, i, None] * (prompts @ one) for i, one in enumerate(values)))
    panel = values.mean(axis=0)
    mean = panel.mean(axis=0)
    curves, whole = drawn.reshape(draws, 2, -1), mean.reshape(1, 2, -1)
    quantities = {}
    for name, (value, refits, slope) in _estimates(epoch, whole, curves, weights).items():
        influence = (panel - mean) @ slope
        if not np.isfinite(influence).all():
            continue
        ends = bca_interval(value, refits, influence)
        if ends is not None and np.isfinite(ends).all():
            middle = np.quantile(refits[np.isfinite(refits)], [0.1587, 0.8413])
            stderr = float(np.ptp(middle)) / 2
            quantities[name] = Resampled(value, stderr, *ends, effective_freedom(influence))
    if "rate" in quantities:
        quantities["rate"] = _exponentiated(quantities["rate"])
    return Population(quantities, curves, "prompts" if len(seeds) == 1 else "seeds and prompts")


def _exponentiated(found: Resampled) -> Resampled:
    """From the logarithm to the quantity itself."""
    value, low, high = (float(np.exp(x)) for x in (found.value, found.low, found.high))
    return Resampled(value, value * found.stderr, low, high, found.freedom)


def _estimates(
    epoch: Array, whole: Array, curves: Array, weights: Array | None
) -> dict[str, tuple[float, Array, Array]]:
    """By name: the estimate, its refits (B,), and its derivative by the mean curves (2T,); the rate as a logarithm."""
    joint, refits = project(epoch, whole, weights), project(epoch, curves, weights)
    start, fall, log_rate = (one[0] for one in derivatives(epoch, whole, joint, weights))
    with np.errstate(divide="ignore", invalid="ignore"):  # a solver that does not move has no beta / alpha
        ratio = joint.fall[0, 1] / joint.fall[0, 0]
        by_ratio = (fall[1] - ratio * fall[0]) / joint.fall[0, 0]
    slopes = {
        "solver_initial": start[0],
        "verifier_initial": start[1],
        "gap_limit": start[0] - fall[0] - start[1] + fall[1],
        "rate": log_rate,
        "beta_over_alpha": by_ratio,
        "solver_limit": start[0] - fall[0],
        "verifier_limit": start[1] - fall[1],
    }
    values, drawn = _quantities(joint), _quantities(refits)
    found = {name: (float(values[name][0]), drawn[name], slope.ravel()) for name, slope in slopes.items()}
    alone = [_alone(epoch, whole, curves, weights, curve) for curve in (0, 1)]
    found["log_rate_ratio"] = (
        alone[0][0] - alone[1][0],
        alone[0][1] - alone[1][1],
        np.concatenate([alone[0][2], -alone[1][2]]),
    )
    found["bend"] = bend(whole[0], curves, None if weights is None else weights[1])
    return found


def _alone(epoch: Array, whole: Array, curves: Array, weights: Array | None, curve: int) -> tuple[float, Array, Array]:
    """Log rate of one curve fitted alone, its refits, and its derivative by that curve."""
    weight = None if weights is None else weights[curve : curve + 1]
    one, many = whole[:, curve : curve + 1], curves[:, curve : curve + 1]
    found = project(epoch, one, weight)
    slope = derivatives(epoch, one, found, weight)[2][0, 0]
    return float(np.log(found.rate[0])), np.log(project(epoch, many, weight).rate), slope


def _quantities(found: Projected) -> dict[str, Array]:
    law = law_of(found)
    values = {name: np.asarray(getattr(law, name)) for name in Coupled.__dataclass_fields__}
    ends = found.start - found.fall
    return {**values, "rate": np.log(found.rate), "solver_limit": ends[:, 0], "verifier_limit": ends[:, 1]}


def law_of(found: Projected) -> Coupled:
    """The five parameters of projected (solver, verifier) pairs, arrays (B,)."""
    solver, verifier = found.fall[:, 0], found.fall[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = verifier / solver
    gap = (found.start[:, 0] - solver) - (found.start[:, 1] - verifier)
    return Coupled(found.start[:, 0], found.start[:, 1], gap, found.rate, ratio)
