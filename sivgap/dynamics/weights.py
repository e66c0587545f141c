"""Weights of the points of a fit: by what standard error each is divided (THEORY section 7).

The noise of a measurement follows its level. Weights by the logged standard errors themselves take from the same
prompts both the value and its weight, so low values weigh more than they should: on sub-panels of 128 to 256 prompts of
a real run the 90 % interval of U_v's limit covered .76 to .80. ``smoothed`` keeps their scale and lets the variance
follow the fitted level: .91 to .92 (benchmarks/results/inference_study.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.curves import Curves
from sivgap.dynamics.projection import project
from sivgap.errors import RunError

Weights = Literal["equal", "stderr", "smoothed", "huber"]
"""``equal`` is the paper's fit; ``stderr`` weighs by the logged standard errors; ``smoothed`` lets the variance be
proportional to the fitted level, its scale from the logged errors; ``huber`` bounds outliers."""

CHOICES: tuple[Weights, ...] = get_args(Weights)

_LEAST_LEVEL = 0.02
"""Fitted levels below this part of the first one count as this."""


def have_errors(runs: Sequence[Curves]) -> bool:
    """Whether every point of both curves has a standard error."""
    return all(run.solver_se is not None and run.verifier_se is not None for run in runs)


def errors_of(runs: Sequence[Curves], weights: Weights) -> list[Array | None]:
    """Standard errors (2, T) of each run by which residuals are divided; None where all points weigh alike.

    Runs of the same epochs (seeds on one panel) have the same ones, the root mean square over them, so a joint fit is
    the fit of their mean.

    Raises:
        ValueError: For weights that do not exist.
        RunError: If standard errors are needed and missing.
    """
    if weights not in CHOICES:
        raise ValueError(f"weights: {weights!r} unknown; expected {', '.join(CHOICES)}")
    if weights in ("equal", "huber"):
        return [None] * len(runs)
    if not have_errors(runs):
        raise RunError(
            f"weights={weights} needs a positive standard error for every point of both curves; expected columns "
            "solver_uncertainty_se and verifier_uncertainty_se"
        )
    errors = [np.stack([_known(run.solver_se), _known(run.verifier_se)]) for run in runs]
    curves = [np.stack([run.solver, run.verifier]) for run in runs]
    if all(np.array_equal(run.epoch, runs[0].epoch) for run in runs):
        errors = [np.sqrt(np.mean(np.square(errors), axis=0))] * len(runs)
        curves = [np.mean(curves, axis=0)] * len(runs)
    if weights == "stderr":
        return list(errors)
    return [smoothed(run.epoch, seen, error) for run, seen, error in zip(runs, curves, errors, strict=True)]


def smoothed(epoch: Array, curves: Array, errors: Array) -> Array:
    """`errors` (C, T) of `curves` with variances proportional to the fitted level, at the same geometric mean."""
    found = project(epoch, curves[None])
    level = found.start[0][:, None] + found.fall[0][:, None] * np.expm1(-found.rate[0] * epoch)
    level = np.maximum(level, _LEAST_LEVEL * np.abs(found.start[0])[:, None])
    scale = np.exp(np.mean(np.log(errors**2 / level), axis=1, keepdims=True))
    return np.asarray(np.sqrt(scale * level))


def _known(errors: Array | None) -> Array:
    assert errors is not None
    return errors
