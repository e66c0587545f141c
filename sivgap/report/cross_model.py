"""The cross-improvement model of a sweep: gamma and its form, fitted jointly, and what it predicts (SV Eq. 14 to 20).

A prediction is tested the hard way: each strategy's end is predicted from a fit to the other strategies alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sivgap.dynamics.analysis import average
from sivgap.dynamics.arrivals import DirectGamma, direct_gamma
from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.cross import Form, curves
from sivgap.dynamics.cross_fit import CrossFit, fit_cross, laws_of, prompt_draws
from sivgap.dynamics.curves import Curves
from sivgap.dynamics.fit import Estimate
from sivgap.dynamics.interval import percentile_interval
from sivgap.dynamics.population import PromptCurves
from sivgap.errors import RunError
from sivgap.report.cross_tables import CrossGroup
from sivgap.report.record import Record
from sivgap.runs.load_curves import Split, arrivals_of, from_lines, panel_curves

_DRAWS = 200
"""Resampled panels from which an end is predicted."""

_TOLD = 0.9
"""Support beyond which a form is called preferred."""


@dataclass(frozen=True)
class CrossModel:
    """Mean curves of each strategy, their joint fit, and the left-out predictions of their ends.

    Attributes:
        arrivals: gamma from the verifier's jumps, on the training panel; None where they were not logged.
    """

    strategies: dict[str, Curves]
    fit: CrossFit
    predictions: pd.DataFrame
    arrivals: DirectGamma | None = None


def cross_model(group: CrossGroup, split: Split = "test") -> CrossModel | None:
    """Fit the group's mean curves, U_s from all samples; None where they are too short to be fitted."""
    try:
        runs = {name: [_curves(record, split) for record in records] for name, records in group.runs.items()}
        strategies = {name: replace(average(these), name=name) for name, these in runs.items()}
    except RunError:
        return None
    prompts = {
        name: panel_curves([record.path for record in records], list(strategies[name].epoch), split, "all")
        for name, records in group.runs.items()
    }
    everyone = [curve for these in runs.values() for curve in these]
    known = [one for these in prompts.values() for one in these]
    by_prompts = len(known) == len(everyone)
    fit = fit_cross(everyone, prompts=known) if by_prompts else fit_cross(list(strategies.values()))
    jumps = [a for records in group.runs.values() for record in records for a in arrivals_of(record.path)]
    left_out = _left_out(strategies, runs, prompts if by_prompts else {})
    return CrossModel(strategies, fit, left_out, direct_gamma(jumps))


def _curves(record: Record, split: Split) -> Curves:
    return from_lines(record.of(split), record.name)


def _left_out(
    strategies: dict[str, Curves], runs: dict[str, list[Curves]], prompts: dict[str, list[PromptCurves]]
) -> pd.DataFrame:
    """What happened at the end of each strategy, and what the model, fitted to the others, says of it."""
    rows = []
    for name, seen in strategies.items():
        others = [curve for other, curve in strategies.items() if other != name]
        if not any(curve.arrivals for curve in others):
            continue
        end, fit = seen.epoch[-1:], fit_cross(others, intervals=False)
        said = curves(fit.law, fit.parameters["gamma"].value, fit.form, seen.arrivals, end)
        alone = [curve for other, these in runs.items() if other != name for curve in these]
        panel = [one for other, these in prompts.items() if other != name for one in these]
        draws = prompt_draws(alone, panel, fit, _DRAWS)
        drawn = curves(*laws_of(draws), fit.form, seen.arrivals, end) if len(draws) else None
        row = {"strategy": name}
        for i, (symbol, curve) in enumerate((("U_s", seen.solver), ("U_v", seen.verifier))):
            row |= {
                f"{symbol} measured": f"{curve[-1]:.3f}",
                f"{symbol} predicted": f"{said[i][0]:.3f}",
                f"{symbol} 90 %, prompts": _interval(None if drawn is None else drawn[i][:, 0], float(np.ptp(curve))),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def _interval(drawn: Array | None, extent: float) -> str:
    """Of drawn predictions; wider than all that the curve has moved it says nothing."""
    if drawn is None:
        return "?"
    low, high = percentile_interval(drawn)
    return f"{low:.3f} to {high:.3f}" if high - low < extent else "?"


def sentences(model: CrossModel) -> list[str]:
    """What the fit says of gamma and of the form of Eq. 14."""
    fit, gamma = model.fit, model.fit.parameters["gamma"]
    of = "the population of prompts" if fit.by_prompts else "this panel of prompts"
    interval = "" if gamma.low is None or gamma.high is None else f" (90 % for {of}: {_span(gamma)})"
    said = [f"gamma is {gamma.value:.3g}{interval} in the form '{fit.form}'."]
    others = ", ".join(f"{form} {fit.gamma[form].value:.3g}" for form in fit.gamma if form != fit.form)
    by = "the prompts' covariance" if fit.by_prompts else "residuals taken as independent"
    support = ", ".join(f"{form} {share:.0%}" for form, share in fit.support.items())
    told = (
        "" if max(fit.support.values()) > _TOLD else f" The data do not tell the forms apart: gamma is also {others}."
    )
    said.append(f"Support of the forms, by {by}: {support}.{told}")
    said.append(
        f"The joint fit has R^2 {fit.r2['solver']:.3f} of U_s, {fit.r2['verifier']:.3f} of U_v and "
        f"{fit.r2['gap']:.3f} of the gap; what it says of gamma holds if the law does."
    )
    if gamma.high is not None and gamma.high < 0:
        said.append(
            "gamma is negative: external responses are less likely under the model than those its verifier chooses, so "
            "they raise U_v, which the theory excludes. Uncertainty then says nothing about what they do for accuracy."
        )
    elif gamma.low is not None and gamma.low < 0:
        said.append("gamma's interval holds 0: these runs do not show that external data change U_v.")
    if model.arrivals is not None:
        said += _direct(model.arrivals, fit.form)
    said.append(
        f"The order-free approximation of Prop. 5.1 is off by up to {fit.order_free_error:.3f} nats at the end."
    )
    return said


def _direct(found: DirectGamma, form: Form) -> list[str]:
    """gamma without the fit."""
    pooled, equal = found.pooled[form], found.equal[form]
    interval = "" if pooled.low is None else f" (90 % for the population of prompts: {_span(pooled)})"
    one = "" if equal is None else f"; that it is the same at all {len(found.arrivals)} has p = {equal:.2g}"
    return [
        f"From the verifier's jump when data came, on the training panel, gamma is {pooled.value:.3g}{interval} in the "
        f"form '{form}'{one}."
    ]


def _span(estimate: Estimate) -> str:
    return f"{estimate.low:.3g} to {estimate.high:.3g}"
