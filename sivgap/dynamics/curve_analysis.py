"""From a single curve to its forecast, and whether to believe it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.collapse import Alarm, Watched, first_alarm
from sivgap.dynamics.curve import Curve
from sivgap.dynamics.curve_forecast import CurveForecast, Method, forecast_curves
from sivgap.dynamics.entropy_law import EntropyLaw, fit_entropy_law
from sivgap.dynamics.families import blocks
from sivgap.dynamics.kind import Kind, kind_of
from sivgap.dynamics.steps_ahead import steps_ahead

_FEW = 8
"""Points below which hardly anything can be learnt of how well a curve is forecast."""

_GOOD = re.compile(r"acc|reward|pass|score|solve|correct|win", re.IGNORECASE)
"""Names of columns of which more is better: whose fall is a collapse."""


@dataclass(frozen=True)
class CurveAnalysis:
    """What is said of one curve.

    Attributes:
        curve: What was seen of it. known: All of it. forecast: With B = 1. kind: Whether the forecast knows such
            curves; its interval is widened already. alarm: Where the run began to collapse, if it did.
        entropy_law: None where there is no entropy.
    """

    curve: Curve
    known: Curve
    method: Method
    horizon: float
    forecast: CurveForecast
    kind: Kind
    alarm: Alarm | None
    entropy_law: EntropyLaw | None
    warnings: tuple[str, ...]

    @property
    def named_warnings(self) -> list[str]:
        """`warnings`, each beginning with the name of the run."""
        start = f"{self.curve.name}: "
        return [sentence if sentence.startswith(start) else start + sentence for sentence in self.warnings]


def analyse_curve(
    known: Curve, until: float | None = None, horizon: float | None = None, method: Method = "default"
) -> CurveAnalysis:
    """Forecast `known` from what had been seen of it at `until` (all by default).

    Args:
        horizon: Forecast to this step, and at every later one that is known; by default as far again as was seen.

    Raises:
        RunError: If too little had been seen.
    """
    curve = known if until is None else known.until(until)
    first, last = float(curve.step[0]), float(curve.step[-1])
    far = last + (last - first) if horizon is None else horizon
    ahead = steps_ahead(last, float(np.median(np.diff(curve.step))), far, known.step)
    found, kind = forecast_with_kind(curve.step, curve.value, ahead, method)
    law = _entropy_law(curve)
    alarm = _alarm(curve)
    return CurveAnalysis(curve, known, method, far, found, kind, alarm, law, _warnings(curve, kind, alarm, law))


def forecast_with_kind(step: Array, values: Array, at: Array, method: Method) -> tuple[CurveForecast, Kind]:
    """The forecast of one curve (T,), its interval widened where the curve is of no kind that is known."""
    adaptive = forecast_curves(step, values[None], at, "adaptive")
    kind = kind_of(step, values, adaptive)
    found = adaptive if method == "adaptive" else forecast_curves(step, values[None], at, method)
    return (found if kind.known else _widened(found, kind.widening, values)), kind


def _widened(found: CurveForecast, by: float, values: Array) -> CurveForecast:
    """Ends of intervals further away by a factor, within what the curve can be."""
    lowest, highest = (0.0 if values.min() >= 0 else -np.inf), np.inf
    if lowest == 0 and values.max() <= 1:
        highest = 1.0
    low = np.maximum(found.value - by * (found.value - found.low), lowest)
    high = np.minimum(found.value + by * (found.high - found.value), highest)
    value, end_low, end_high = found.limit[0]
    ends = np.clip([value - by * (value - end_low), value + by * (end_high - value)], lowest, highest)
    return replace(found, low=low, high=high, limit=np.array([[value, *ends]]))


def _entropy_law(curve: Curve) -> EntropyLaw | None:
    """At the steps where both were logged."""
    if curve.entropy is None:
        return None
    _, mine, other = np.intersect1d(curve.step, curve.entropy[0], return_indices=True)
    return fit_entropy_law(curve.entropy[1][other], curve.value[mine])


def _alarm(curve: Curve) -> Alarm | None:
    """Of a column that should rise and stays within [0, 1]."""
    if not _GOOD.search(curve.label) or curve.value.min() < 0 or curve.value.max() > 1:
        return None
    series = [None if one is None else _in_blocks(*one) for one in (curve.entropy, curve.length)]
    return first_alarm(Watched(_in_blocks(curve.step, curve.value), *series))


def _in_blocks(step: Array, values: Array) -> tuple[Array, Array]:
    when, means = blocks(step, values[None])
    return when, means[0]


def _warnings(curve: Curve, kind: Kind, alarm: Alarm | None, law: EntropyLaw | None) -> tuple[str, ...]:
    said = [kind.sentence] if not kind.known else []
    if alarm is not None:
        said.append(f"Collapse: at step {alarm.step:g} {alarm.reason}.")
    if len(curve.step) < _FEW:
        said.append(f"Only {len(curve.step)} points: the forecast rests on what such curves do, not on this one.")
    if law is not None and not law.holds:
        said.append(f"{law.sentence[0].upper()}{law.sentence[1:]}.")
    return (*said, *curve.notes)
