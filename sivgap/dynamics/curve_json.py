"""The content of ``fit.json`` for curves of anybody's runs (CONTRACT, fit.json)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sivgap.dynamics.curve_analysis import CurveAnalysis
from sivgap.dynamics.curve_forecast import DESCRIPTIONS
from sivgap.dynamics.interval import LEVEL


def curves_as_json(found: Sequence[CurveAnalysis]) -> dict[str, Any]:
    """``forecast.curve`` and its ``limit`` of a single curve; of several they are null, and all is in ``curves``."""
    alone = found[0] if len(found) == 1 else None
    return {
        "column": found[0].curve.label,
        "forecast": {
            "method": DESCRIPTIONS[found[0].method],
            "horizon": found[0].horizon if alone else max(one.horizon for one in found),
            "level": LEVEL,
            "curve": None if alone is None else _points(alone),
            "limit": None if alone is None else {"curve": _limit(alone)},
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
        "curve": _points(found),
        "limit": _limit(found),
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
