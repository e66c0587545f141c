"""The content of ``fit.json`` (CONTRACT, fit.json)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sivgap.dynamics.analysis import OVER_PROMPTS, Analysis
from sivgap.dynamics.arrivals import DirectGamma
from sivgap.dynamics.cross_fit import CrossFit
from sivgap.dynamics.curve_forecast import DESCRIPTIONS
from sivgap.dynamics.energy import Exponent
from sivgap.dynamics.fit import Estimate
from sivgap.dynamics.forecast import Forecast
from sivgap.dynamics.interval import LEVEL
from sivgap.dynamics.verdict import residual_autocorrelation

_CURVES = ("solver", "verifier", "gap")

_NOTES = {
    True: "low and high: for the population of prompts (bootstrap over prompts); panel_low and panel_high: for this "
    "panel, by the profile likelihood. Training noise of a single run is in neither.",
    False: "low and high: for this panel of prompts alone, by the profile likelihood; how much prompts differ is not "
    "known from these curves.",
}


def as_json(analysis: Analysis) -> dict[str, Any]:
    """Everything, in the order a reader asks; a number that does not exist may be NaN."""
    fit, said, cross = analysis.fit, analysis.forecast, analysis.cross
    explained = fit if cross is None else cross
    rates = explained.law.rates()
    return {
        "coupled": {
            "parameters": {name: asdict(estimate) for name, estimate in explained.parameters.items()},
            "limits": {name: asdict(explained.limits[name]) for name in _CURVES},
            "r2": explained.r2,
            "aicc": fit.aicc if cross is None else cross.aicc[cross.form],
            # With external data the rest has no meaning: Q changes when they come, and residuals are of another law.
            "reduced_chi2": fit.reduced_chi2 if cross is None else None,
            "conserved_drift": analysis.drift if cross is None else None,
            "residual_autocorrelation": [residual_autocorrelation(r) for r in fit.residuals] if cross is None else None,
            "gauge": {"k": 1.0, "alpha": rates.alpha, "beta": rates.beta, "b": rates.b, "note": _GAUGE},
            "lack_of_fit_p_value": analysis.misfit if cross is None else None,
            "weights": analysis.weights,
            "intervals": {"of": analysis.of, "level": LEVEL, "note": _NOTES[analysis.of == OVER_PROMPTS]},
            "rate_by_weights": analysis.sensitivity,
            "bootstrap": analysis.bootstrap,
        },
        "separate_rates": {
            **analysis.test.rates,
            "test": {
                "statistic": analysis.test.statistic,
                "p_value": analysis.test.p_value,
                "delta_aicc": analysis.test.delta_aicc,
                "shared_rate_rejected": analysis.test.rejected,
                "of": analysis.test.of,
            },
            "solver_over_verifier": {
                "value": analysis.test.ratio,
                "low": analysis.test.low,
                "high": analysis.test.high,
            },
        },
        "phase_plane": asdict(analysis.phase),
        "exponent": None if analysis.exponent is None else _exponent(analysis.exponent),
        "linearity": asdict(analysis.linearity),
        "rivals": analysis.rivals,
        "forecast": {
            "method": DESCRIPTIONS[analysis.method],
            "horizon": analysis.horizon,
            "level": LEVEL,
            **{name: _points(said, i) for i, name in enumerate(_CURVES)},
            "limit": {name: _limit(analysis, i) for i, name in enumerate(_CURVES)},
        },
        "cross": None if analysis.cross is None else _cross(analysis.cross),
        "arrivals": None if analysis.arrivals is None else _arrivals(analysis.arrivals),
        "runs": [run.name for run in analysis.runs],
        "epochs": [float(analysis.mean.epoch[0]), float(analysis.mean.epoch[-1])],
        "warnings": analysis.warnings,
    }


_GAUGE = "alpha, beta, k and b are not identifiable one by one; these are in the gauge k = 1"


def _limit(analysis: Analysis, curve: int) -> dict[str, float]:
    """The forecast's end: for the population of prompts where they are known, and for this panel."""
    panel = analysis.forecast.limit[0, curve]
    ends = panel if analysis.limit is None else analysis.limit[curve]
    return {
        "value": float(panel[0]),
        "low": float(ends[1]),
        "high": float(ends[2]),
        "panel_low": float(panel[1]),
        "panel_high": float(panel[2]),
    }


def _exponent(found: Exponent) -> dict[str, Any]:
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "at_edge": found.at_edge,
        "rate": found.rate,
        "aicc_gain": found.aicc_gain,
        "p_value": found.p_value,
        "limits_p_1": found.limits_fixed,
        "limits_free_p": {
            name: {
                "value": value,
                **dict(zip(("low", "high"), found.limit_intervals.get(name, (None, None)), strict=True)),
            }
            for name, value in found.limits_free.items()
        },
    }


def _cross(found: CrossFit) -> dict[str, Any]:
    return {
        "form": found.form,
        "aicc": found.aicc,
        "support": found.support,
        "support_of": "prompts' covariance" if found.by_prompts else "residuals taken as independent",
        "gamma_by_form": {form: asdict(estimate) for form, estimate in found.gamma.items()},
        "order_free_error": found.order_free_error,
        "names": list(found.names),
        "draws": found.draws.tolist(),
    }


def _arrivals(found: DirectGamma) -> dict[str, Any]:
    return {
        "each": [
            {
                "run": a.run,
                "epoch": a.epoch,
                "eta": a.eta,
                "verifier_before": a.before,
                "verifier_after": a.after,
                "gamma": {form: _estimate(one) for form, one in gamma.items()},
            }
            for a, gamma in zip(found.arrivals, found.each, strict=True)
        ],
        "pooled": {form: _estimate(one) for form, one in found.pooled.items()},
        "equal_p_value": found.equal,
        "note": "gamma from the jump of the verifier at an arrival, on the training panel, whose prompts are given the "
        "data; the fit's gamma is of the panel that was fitted",
    }


def _estimate(one: Estimate) -> dict[str, float | None]:
    return {"value": one.value, "stderr": one.stderr, "low": one.low, "high": one.high}


def _points(said: Forecast, curve: int) -> list[dict[str, float]]:
    return [
        {"epoch": float(e), "value": float(v), "low": float(low), "high": float(high)}
        for e, v, low, high in zip(
            said.epoch, said.value[0, curve], said.low[0, curve], said.high[0, curve], strict=True
        )
    ]
