"""Everything that ``fit.json`` holds, from curves to warnings, in the order a reader asks (CONTRACT, fit.json)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from sivgap.dynamics.bootstrap import PromptCurves, over_prompts, over_residuals, percentiles
from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.cross_fit import CrossFit, fit_cross
from sivgap.dynamics.curves import FEWEST, Curves
from sivgap.dynamics.families import blocks, predict
from sivgap.dynamics.fit import PARAMETERS, CoupledFit, Weights, aicc, fit_coupled
from sivgap.dynamics.forecast import FAMILIES, METHOD, Forecast, forecast, held_out_errors
from sivgap.dynamics.interval import LEVEL
from sivgap.dynamics.verdict import (
    Linearity,
    SeparateRates,
    conserved_drift,
    linearity,
    residual_autocorrelation,
    separate_rates,
    warnings_of,
)

_MOST_AHEAD = 200
"""Epochs of a forecast, unless the data name more."""

_CURVES = ("solver", "verifier", "gap")


@dataclass(frozen=True)
class Analysis:
    """A fit, its verdict, and a forecast from `mean`, the runs' average curves."""

    runs: tuple[Curves, ...]
    mean: Curves
    fit: CoupledFit
    test: SeparateRates
    linearity: Linearity
    drift: tuple[float, float]
    sensitivity: dict[str, float]
    bootstrap: dict[str, Any] | None
    rivals: dict[str, dict[str, float | None]]
    forecast: Forecast
    horizon: float
    cross: CrossFit | None
    warnings: list[str]


def analyse(
    runs: Sequence[Curves],
    known: Array,
    horizon: float | None = None,
    shared: Sequence[str] = PARAMETERS,
    weights: Weights = "equal",
    draws: int = 1000,
    seed: int = 0,
    prompts: Sequence[PromptCurves] = (),
) -> Analysis:
    """Fit `runs`, judge the theory, forecast.

    Args:
        runs: Seeds of one experiment, or runs that share the parameters named in `shared`.
        known: Epochs that the data have; later ones than the runs' last are forecast, too.
        horizon: Forecast to this epoch; twice the last one of the runs by default.
        shared, weights: As in `fit_coupled`.
        draws: Bootstrap refits; 0 leaves the bootstrap out.
        seed: Of the bootstrap and of the power estimate.
        prompts: Curves of every prompt of each run at the epochs of `average`, where they are stored; the bootstrap is
            then over these.
    """
    fit = fit_coupled(runs, shared, weights)
    alike = [run for run in runs if run.arrivals == runs[0].arrivals]
    whole = average(alike)
    mean = _in_blocks(whole)
    test = separate_rates(mean, seed)
    last = float(mean.epoch[-1])
    far = 2 * last if horizon is None else horizon
    ahead = epochs_ahead(last, float(np.median(np.diff(mean.epoch))), far, known)
    return Analysis(
        runs=tuple(runs),
        mean=mean,
        fit=fit,
        test=test,
        linearity=linearity(mean),
        drift=conserved_drift(mean, fit),
        sensitivity=_sensitivity(runs, shared),
        bootstrap=_bootstrap(whole, mean, fit, draws, seed, prompts if len(alike) == len(runs) else ()),
        rivals=_rivals(mean.epoch, np.stack([mean.solver, mean.verifier])),
        forecast=forecast(mean.epoch, np.stack([mean.solver, mean.verifier])[None], ahead),
        horizon=far,
        cross=fit_cross(runs, seed=seed) if any(run.arrivals for run in runs) else None,
        warnings=[*warnings_of(runs, fit, test, last), *mean.notes, *_unlike(runs, alike)],
    )


def _unlike(runs: Sequence[Curves], alike: Sequence[Curves]) -> list[str]:
    if len(alike) == len(runs):
        return []
    return [
        f"The runs were given external data at different times: verdict, bootstrap and forecast are of the "
        f"{len(alike)} given it as {runs[0].name} was; gamma is of all {len(runs)}."
    ]


def average(runs: Sequence[Curves]) -> Curves:
    """The mean curves over the epochs that all runs have; of a single run, itself.

    The curves of the first run where fewer than `FEWEST` epochs are common to all.
    """
    common = runs[0].epoch
    for run in runs[1:]:
        common = np.intersect1d(common, run.epoch)
    if len(runs) == 1 or len(common) < FEWEST:
        return runs[0]
    places = [np.searchsorted(run.epoch, common) for run in runs]
    solver, verifier = (
        np.mean([getattr(run, curve)[place] for run, place in zip(runs, places, strict=True)], axis=0)
        for curve in ("solver", "verifier")
    )
    arrivals = runs[0].arrivals if len({run.arrivals for run in runs}) == 1 else ()
    return Curves(f"mean of {len(runs)} runs", common, solver, verifier, arrivals=arrivals)


def _in_blocks(mean: Curves) -> Curves:
    """Long series in block means: verdict, bootstrap and forecast gain nothing from more points, and cost by them."""
    epoch, curves = blocks(mean.epoch, np.stack([mean.solver, mean.verifier]))
    if len(epoch) == len(mean.epoch):
        return replace(mean, notes=())
    note = f"{len(mean.epoch)} epochs: verdict, bootstrap and forecast read means over {len(epoch)} blocks of them."
    return Curves(mean.name, epoch, curves[0], curves[1], notes=(note,))


def epochs_ahead(last: float, step: float, horizon: float, known: Array) -> Array:
    """Epochs to forecast: every `step` from `last` to `horizon`, and every later one that the data `known` have."""
    count = min(max(round((horizon - last) / step), 1), _MOST_AHEAD) if horizon > last else 0
    even = last + (horizon - last) * np.arange(1, count + 1) / max(count, 1)
    return np.unique(np.round(np.concatenate([even, known[known > last]]), 9))


def as_json(analysis: Analysis) -> dict[str, Any]:
    """The content of ``fit.json``; a number that does not exist may be NaN."""
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
            "conserved_drift": analysis.drift[0] if cross is None else None,
            "conserved_drift_stderr": analysis.drift[1] if cross is None else None,
            "residual_autocorrelation": [residual_autocorrelation(r)[0] for r in fit.residuals]
            if cross is None
            else None,
            "gauge": {"k": 1.0, "alpha": rates.alpha, "beta": rates.beta, "b": rates.b, "note": _GAUGE},
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
                "power": analysis.test.power,
            },
        },
        "linearity": asdict(analysis.linearity),
        "rivals": analysis.rivals,
        "forecast": {
            "method": METHOD,
            "horizon": analysis.horizon,
            "level": LEVEL,
            **{name: _points(said, i) for i, name in enumerate(_CURVES)},
            "limit": {
                name: dict(zip(("value", "low", "high"), map(float, said.limit[0, i]), strict=True))
                for i, name in enumerate(_CURVES)
            },
        },
        "cross": None if analysis.cross is None else _cross(analysis.cross),
        "runs": [run.name for run in analysis.runs],
        "epochs": [float(analysis.mean.epoch[0]), float(analysis.mean.epoch[-1])],
        "warnings": analysis.warnings,
    }


_GAUGE = "alpha, beta, k and b are not identifiable one by one; these are in the gauge k = 1"


def _cross(found: CrossFit) -> dict[str, Any]:
    return {
        "form": found.form,
        "aicc": found.aicc,
        "order_free_error": found.order_free_error,
        "names": list(found.names),
        "draws": found.draws.tolist(),
    }


def _points(said: Forecast, curve: int) -> list[dict[str, float]]:
    return [
        {"epoch": float(e), "value": float(v), "low": float(low), "high": float(high)}
        for e, v, low, high in zip(
            said.epoch, said.value[0, curve], said.low[0, curve], said.high[0, curve], strict=True
        )
    ]


def _sensitivity(runs: Sequence[Curves], shared: Sequence[str]) -> dict[str, float]:
    """The rate under the other weights: how much it hangs on the choice."""
    known = all(run.solver_se is not None and run.verifier_se is not None for run in runs)
    choices: list[Weights] = ["equal", "huber", *(["stderr"] if known else [])]  # type: ignore[list-item]
    return {w: fit_coupled(runs, shared, w, intervals=False).parameters["rate"].value for w in choices}


def _bootstrap(
    whole: Curves, mean: Curves, fit: CoupledFit, draws: int, seed: int, prompts: Sequence[PromptCurves]
) -> dict[str, Any] | None:
    """Over the prompts of `whole` where they are known, else over the residuals of `mean`, which is in blocks."""
    if draws == 0:
        return None
    if prompts:
        refits, kind = over_prompts(whole.epoch, list(prompts), draws, seed), "seeds and prompts"
    else:
        residuals = np.stack([mean.solver - fit.law.solver(mean.epoch), mean.verifier - fit.law.verifier(mean.epoch)])
        refits, kind = over_residuals(mean, residuals, fit.law, draws, seed), "residuals"
    return {"over": kind, "draws": draws, "parameters": percentiles(refits)}


def _rivals(epoch: Array, curves: Array) -> dict[str, dict[str, float | None]]:
    """AICc of each family on all points, and the held-out error of each forecaster (nats)."""
    criteria: dict[str, float | None] = {}
    for family in FAMILIES:
        u = epoch / (epoch[-1] or 1.0)
        found = predict(family, u, curves[None], u[-1:])
        criteria[family.name] = aicc(float(found.sse.sum()), curves.size, family.parameters(len(curves)))
    errors = held_out_errors(epoch, curves)
    return {name: {"aicc": criteria.get(name), "held_out_rmse": error} for name, error in errors.items()}
