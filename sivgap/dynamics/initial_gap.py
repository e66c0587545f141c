"""A prediction of SV's law: U_s,inf against the gap that a run begins with (THEORY section 6).

    U_s,inf = U_s0 - (G_0 - G_inf) / (1 - rho)

So where the number of responses, the threshold or the verifier changes G_0 of the same solver, and nothing else, the
limit falls by 1 / (1 - rho) nats for each nat. The slope is fitted to the limits, the prediction to the curves' rho.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.fit import Estimate
from sivgap.dynamics.interval import percentile_interval
from sivgap.dynamics.population import PromptCurves, law_of, resample, same_panel
from sivgap.dynamics.projection import project

NAMES = ("initial_gap", "solver_limit", "gap_limit", "rate", "beta_over_alpha")


@dataclass(frozen=True)
class InitialGap:
    """K settings of one solver and panel, in the order given.

    Attributes:
        settings: Of each setting the law's `NAMES`, fitted to the mean over its seeds; 90 % over prompts.
        slope: Change of the solver's limit by that of the initial gap, nats a nat.
        predicted: -1 / (1 - rho), rho being the mean over settings.
        difference: slope - predicted, from the same resampled prompts.
    """

    settings: tuple[dict[str, Estimate], ...]
    slope: Estimate
    predicted: Estimate
    difference: Estimate


def initial_gap(
    epoch: Array, settings: Sequence[Sequence[PromptCurves]], draws: int = 1000, seed: int = 0
) -> InitialGap | None:
    """Refit every setting to resampled prompts, one draw for all; None where the panels differ or the gaps do not.

    Args:
        epoch: (T,), the epochs of all runs.
        settings: Of each setting the curves of its seeds.
        draws: Samples of prompts.
        seed: Of the draws.
    """
    runs = [one for seeds in settings for one in seeds]
    if len(settings) < 2 or not same_panel(runs):
        return None
    prompts = len(runs[0].solver)
    counts = np.concatenate([np.ones((1, prompts)), resample(np.random.default_rng(seed), draws, prompts)]) / prompts
    found = [_law(epoch, counts, seeds) for seeds in settings]  # of each name (1 + draws,), all prompts first
    gap, limit, rho = (np.stack([one[name] for one in found]) for name in ("initial_gap", "solver_limit", NAMES[-1]))
    apart = gap - gap.mean(axis=0)
    if np.ptp(gap[:, 0]) < 1e-9:
        return None
    slope = (apart * limit).sum(axis=0) / (apart**2).sum(axis=0)
    predicted = -1 / (1 - rho.mean(axis=0))
    return InitialGap(
        tuple({name: _estimate(values) for name, values in one.items()} for one in found),
        _estimate(slope), _estimate(predicted), _estimate(slope - predicted),
    )  # fmt: skip


def _law(epoch: Array, counts: Array, seeds: Sequence[PromptCurves]) -> dict[str, Array]:
    """The law of the mean over `seeds` for each weighting of the prompts, (B, P)."""
    both = [np.mean([getattr(one, curve) for one in seeds], axis=0) for curve in ("solver", "verifier")]
    fitted = project(epoch, np.stack([counts @ curve for curve in both], axis=1))
    law, start = law_of(fitted), fitted.start
    values = start[:, 0] - start[:, 1], start[:, 0] - fitted.fall[:, 0], law.gap_limit, law.rate, law.beta_over_alpha
    return {name: np.asarray(value) for name, value in zip(NAMES, values, strict=True)}


def _estimate(values: Array) -> Estimate:
    """The first is of all prompts, the others of the draws."""
    return Estimate(float(values[0]), float(values[1:].std(ddof=1)), *percentile_interval(values[1:]))
