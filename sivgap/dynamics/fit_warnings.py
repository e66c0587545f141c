"""What a reader must know before using the numbers of a fit, in plain sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sivgap.dynamics.curves import Curves
from sivgap.dynamics.energy import Exponent
from sivgap.dynamics.fit import CoupledFit
from sivgap.dynamics.verdict import INDEPENDENT, SIGNIFICANCE, PhasePlane, SeparateRates

_FLAT = 0.5
"""R^2 of a curve below which its exponential is called no description at all."""

OF_PANEL = (
    "Intervals are conditional on this panel of prompts: curves of means do not say how much the prompts differ, and "
    "for the population of prompts intervals are two to five times as wide."
)


def warnings_on_fit(runs: Sequence[Curves], fit: CoupledFit, last_epoch: float) -> list[str]:
    """Of the fitted numbers."""
    said = [note for run in runs for note in run.notes]
    points = sum(len(run.epoch) for run in runs)
    if points < 8:
        said.append(f"Only {points} epochs: five parameters are fitted to {2 * points} numbers.")
    solver_fall, verifier_fall, gap_fall = (float(np.asarray(fall)) for fall in fit.law.falls)
    if solver_fall <= 0:
        said.append("The solver's uncertainty rises: this is no self-improvement, and the limits mean little.")
    if verifier_fall <= 0 < solver_fall:
        said.append("The verifier's uncertainty rises, which the theory excludes (beta >= 0).")
    if verifier_fall > solver_fall > 0:
        said.append(
            "The verifier falls further than the solver, which the theory excludes (beta < alpha): the gap grows."
        )
    if gap_fall <= 0 < solver_fall and verifier_fall <= solver_fall:
        said.append("The gap does not close.")
    poor = [name for name in ("solver", "verifier") if fit.r2[name] < _FLAT]
    if poor:
        said.append(
            f"The law describes less than half of the {' and the '.join(poor)}'s movement: do not use its limits."
        )
    limit = fit.limits["solver"]
    covered = 1 - float(np.exp(-fit.parameters["rate"].value * last_epoch))
    if fit.at_edge or covered < 0.5 or limit.panel_low is None or limit.panel_high is None:
        said.append(
            f"The limit is not identified: the run has covered {covered:.0%} of the way to it. Train longer, or use "
            "the forecast with its interval."
        )
    if any(float(np.asarray(end)) < 0 for end in fit.law.limits[:2]):
        said.append("A fitted limit is negative, which an uncertainty cannot be.")
    return said


def warnings_on_theory(
    test: SeparateRates, phase: PhasePlane, misfit: float | None, exponent: Exponent | None
) -> list[str]:
    """Of the theory's claims, the most general one first. Runs with external data are not judged by them."""
    said = []
    if phase.rejected:
        bow = "above" if phase.bend < 0 else "below"
        said.append(
            f"U_v is not affine in U_s (p = {phase.p_value:.2g}): it bows {abs(phase.bend):.3g} nats {bow} the line, "
            f"{abs(phase.share):.0%} of its range. The theory says affine for any energy and any learning rate."
        )
    interval = "" if test.low is None or test.high is None else f" (90 %: {test.low:.2f} to {test.high:.2f})"
    if test.rejected:
        rates = test.rates
        said.append(
            f"One shared rate is rejected (p = {test.p_value:.2g}): fitted alone, the solver's rate is "
            f"{rates['solver']:.3g}, the verifier's {rates['verifier']:.3g}, the gap's {rates['gap']:.3g} an epoch; "
            f"solver over verifier {test.ratio:.2f}{interval}. The law summarises this run; it does not describe it "
            "exactly."
        )
    elif test.p_value is not None:
        said.append(
            f"One shared rate is not rejected (p = {test.p_value:.2g}): the solver's rate is {test.ratio:.2f}"
            f"{interval} times the verifier's."
        )
    if misfit is not None and misfit < SIGNIFICANCE and not (test.rejected or phase.rejected):
        said.append(f"The curves depart from the law by more than the prompts explain (p = {misfit:.2g}).")
    if exponent is not None:
        said += _on_energy(exponent)
    if said and test.of == INDEPENDENT:
        said.append(
            "These tests take residuals as independent, which on a fixed panel they are not: they reject a true law "
            "more often than stated. Fit the run directory, which has every prompt, for tests that hold their level."
        )
    return said


def _on_energy(found: Exponent) -> list[str]:
    fixed, free = found.limits_fixed["solver"], found.limits_free["solver"]
    below = " (no uncertainty is below 0: the tail has not been seen)" if free < 0 else ""
    limits = f"U_s ends at {fixed:.3g} with p = 1, at {free:.3g} with p = {found.value:.2f}{below}"
    if found.at_edge:
        return [
            f"The exponent of the energy is not identified ({found.low:.2f} to {found.high:.2f}, where the search ended"
            f" at either side or both): {limits}; the tail decides, and it has not been seen."
        ]
    if found.p_value is not None and found.p_value < SIGNIFICANCE:
        return [
            f"An energy of power p = {found.value:.2f} fits better than p = 1 (p value {found.p_value:.2g}): {limits}."
        ]
    return []
