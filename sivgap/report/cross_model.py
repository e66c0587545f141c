"""The cross-improvement model of a sweep: gamma and its form, fitted jointly, and what it predicts (SV Eq. 14 to 20).

A prediction is tested the hard way: each strategy's end is predicted from a fit to the other strategies alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sivgap.dynamics.analysis import average
from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.cross import curves
from sivgap.dynamics.cross_fit import CrossFit, fit_cross, laws_of
from sivgap.dynamics.curves import Curves, read_curves
from sivgap.dynamics.interval import percentile_interval
from sivgap.errors import RunError
from sivgap.report.cross_tables import CrossGroup


@dataclass(frozen=True)
class CrossModel:
    """Mean curves of each strategy, their joint fit, and the left-out predictions of their ends."""

    strategies: dict[str, Curves]
    fit: CrossFit
    predictions: pd.DataFrame


def cross_model(group: CrossGroup, split: str = "test") -> CrossModel | None:
    """Fit the group's mean curves, U_s from all samples; None where they are too short to be fitted."""
    try:
        strategies = {
            name: average([_curves(record.of(split), name) for record in records])
            for name, records in group.runs.items()
        }
    except RunError:
        return None
    return CrossModel(strategies, fit_cross(list(strategies.values())), _left_out(strategies))


def _curves(lines: list[dict[str, object]], name: str) -> Curves:
    table = pd.DataFrame(lines)
    return read_curves(table.assign(solver_uncertainty=table["solver_uncertainty_all"]), name)


def _left_out(strategies: dict[str, Curves]) -> pd.DataFrame:
    """What happened at the end of each strategy, and what the model, fitted to the others, says of it."""
    rows = []
    for name, seen in strategies.items():
        others = [curve for other, curve in strategies.items() if other != name]
        if not any(curve.arrivals for curve in others):
            continue
        end, fit = seen.epoch[-1:], fit_cross(others, intervals=False)
        said = curves(fit.law, fit.parameters["gamma"].value, fit.form, seen.arrivals, end)
        drawn = curves(*laws_of(fit.draws), fit.form, seen.arrivals, end) if len(fit.draws) else None
        row = {"strategy": name}
        for i, (symbol, curve) in enumerate((("U_s", seen.solver), ("U_v", seen.verifier))):
            row |= {
                f"{symbol} measured": f"{curve[-1]:.3f}",
                f"{symbol} predicted": f"{said[i][0]:.3f}",
                f"{symbol} 90 %": _interval(None if drawn is None else drawn[i][:, 0], float(np.ptp(curve))),
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
    gamma, known = model.fit.parameters["gamma"], {k: v for k, v in model.fit.aicc.items() if v is not None}
    interval = "" if gamma.low is None or gamma.high is None else f" (90 %: {gamma.low:.3g} to {gamma.high:.3g})"
    said = [f"gamma is {gamma.value:.3g}{interval} in the form '{model.fit.form}'."]
    if known:
        best = min(known.values())
        others = ", ".join(f"{form} +{value - best:.1f}" for form, value in known.items() if form != model.fit.form)
        close = all(value - best < 2 for value in known.values())
        said.append(
            f"AICc above the preferred form: {others}" + ("; the data do not tell the forms apart." if close else ".")
        )
    fit = model.fit.r2
    said.append(
        f"The joint fit has R^2 {fit['solver']:.3f} of U_s, {fit['verifier']:.3f} of U_v and {fit['gap']:.3f} of the "
        "gap; its intervals hold if the law does."
    )
    if gamma.high is not None and gamma.high < 0:
        said.append(
            "gamma is negative: external responses are less likely under the model than those its verifier chooses, so "
            "they raise U_v, which the theory excludes. Uncertainty then says nothing about what they do for accuracy."
        )
    elif gamma.low is not None and gamma.low < 0:
        said.append("gamma's interval holds 0: these runs do not show that external data change U_v.")
    said.append(
        f"The order-free approximation of Prop. 5.1 is off by up to {model.fit.order_free_error:.3f} nats at the end."
    )
    return said
