"""The content of ``fit.json`` for curves of anybody's runs (CONTRACT, fit.json)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sivgap.dynamics.curve_analysis import CurveAnalysis
from sivgap.dynamics.curve_forecast import DESCRIPTIONS
from sivgap.dynamics.interval import LEVEL


def curves_as_json(found: Sequence[CurveAnalysis]) -> dict[str, Any]:
    """``forecast.curve`` and its ``limit``; of several runs each by the run's name."""
    alone = len(found) == 1
    return {
        "column": found[0].curve.label,
        "forecast": {
            "method": DESCRIPTIONS[found[0].method],
            "horizon": max(one.horizon for one in found),
            "level": LEVEL,
            "curve": _points(found[0]) if alone else {one.curve.name: _points(one) for one in found},
            "limit": {"curve": _limit(found[0]) if alone else {one.curve.name: _limit(one) for one in found}},
        },
        "curves": {one.curve.name: _curve(one) for one in found},
        "runs": [one.curve.name for one in found],
        "warnings": [sentence for one in found for sentence in one.named_warnings],
    }


def _curve(found: CurveAnalysis) -> dict[str, Any]:
    said = found.forecast
    return {
        "points": len(found.curve.step),
        "steps": [float(found.curve.step[0]), float(found.curve.step[-1])],
        "last": float(found.curve.value[-1]),
        "members": {
            name: {"weight": float(weight), "held_out_rmse": float(error)}
            for name, weight, error in zip(said.members, said.weights[0], said.errors[0], strict=True)
        },
        "known_kind": found.kind.known,
        "collapse": None if found.alarm is None else asdict(found.alarm),
        "entropy_law": None if found.entropy_law is None else asdict(found.entropy_law),
    }


def _points(found: CurveAnalysis) -> list[dict[str, float]]:
    said = found.forecast
    return [
        {"step": float(step), "value": float(value), "low": float(low), "high": float(high)}
        for step, value, low, high in zip(said.step, said.value[0], said.low[0], said.high[0], strict=True)
    ]


def _limit(found: CurveAnalysis) -> dict[str, float]:
    return dict(zip(("value", "low", "high"), map(float, found.forecast.limit[0]), strict=True))
