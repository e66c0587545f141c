"""Bootstrap of the joint fit over residuals, for curves whose prompts are not known: conditional on the panel.

Where every prompt's curves are stored, `population` resamples these instead.
"""

from __future__ import annotations

import numpy as np

from sivgap.dynamics.closed_form import Array, Coupled
from sivgap.dynamics.curves import Curves
from sivgap.dynamics.fit import PARAMETERS
from sivgap.dynamics.interval import percentile_interval
from sivgap.dynamics.population import law_of
from sivgap.dynamics.projection import project


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


def percentiles(law: Coupled) -> dict[str, dict[str, float]]:
    """The middle 90 % of each parameter's refits; refits without a finite value are left out."""
    ends = {name: percentile_interval(np.asarray(getattr(law, name))) for name in PARAMETERS}
    return {name: {"low": low, "high": high} for name, (low, high) in ends.items()}
