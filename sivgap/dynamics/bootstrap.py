"""Bootstrap of the joint fit: over seeds and prompts where they are stored, else over residuals (THEORY section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sivgap.dynamics.closed_form import Array, Coupled
from sivgap.dynamics.curves import Curves
from sivgap.dynamics.fit import PARAMETERS
from sivgap.dynamics.interval import percentile_interval
from sivgap.dynamics.projection import Projected, project


@dataclass(frozen=True)
class PromptCurves:
    """U_s and U_v of every prompt of a panel, (P, T) each, of one seed."""

    solver: Array
    verifier: Array


def law_of(found: Projected) -> Coupled:
    """The five parameters of projected (solver, verifier) pairs, arrays (B,)."""
    solver, verifier = found.fall[:, 0], found.fall[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = verifier / solver
    gap = (found.start[:, 0] - solver) - (found.start[:, 1] - verifier)
    return Coupled(found.start[:, 0], found.start[:, 1], gap, found.rate, ratio)


def over_residuals(run: Curves, residuals: Array, law: Coupled, draws: int, seed: int) -> Coupled:
    """Refits of `draws` curves made of the fitted law and resampled residuals (2, T).

    An epoch's two residuals stay together, since measurements share their prompts; they are inflated for the five
    parameters that were fitted.
    """
    rng = np.random.default_rng(seed)
    points = len(run.epoch)
    inflated = residuals * np.sqrt(2 * points / max(2 * points - len(PARAMETERS), 1))
    picked = inflated[:, rng.integers(points, size=(draws, points))].transpose(1, 0, 2)
    fitted = np.stack([law.solver(run.epoch), law.verifier(run.epoch)])
    return law_of(project(run.epoch, fitted + picked))


def over_prompts(epoch: Array, seeds: list[PromptCurves], draws: int, seed: int) -> Coupled:
    """Refits of curves averaged over resampled seeds and, within each, resampled prompts."""
    rng = np.random.default_rng(seed)
    total = np.zeros((draws, 2, len(epoch)))
    chosen = rng.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), size=draws)
    for i, panel in enumerate(seeds):
        prompts = len(panel.solver)
        count = _counts(rng, draws, prompts)
        for curve, values in enumerate((panel.solver, panel.verifier)):
            total[:, curve] += chosen[:, i, None] * (count @ values) / prompts
    return law_of(project(epoch, total / len(seeds)))


def percentiles(law: Coupled) -> dict[str, dict[str, float]]:
    """The middle 90 % of each parameter's refits; refits without a finite value are left out."""
    ends = {name: percentile_interval(np.asarray(getattr(law, name))) for name in PARAMETERS}
    return {name: {"low": low, "high": high} for name, (low, high) in ends.items()}


def _counts(rng: np.random.Generator, draws: int, prompts: int) -> NDArray[np.float64]:
    return rng.multinomial(prompts, np.full(prompts, 1 / prompts), size=draws).astype(np.float64)
