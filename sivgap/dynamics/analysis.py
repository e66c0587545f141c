"""From curves to a fit, its verdict and a forecast, for the population of prompts where every prompt is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sivgap.dynamics.arrivals import Arrival, DirectGamma, direct_gamma
from sivgap.dynamics.bootstrap import over_residuals, percentiles
from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.cross_fit import CrossFit, fit_cross
from sivgap.dynamics.curve_forecast import Method
from sivgap.dynamics.curves import FEWEST, Curves
from sivgap.dynamics.energy import Exponent, fit_exponent
from sivgap.dynamics.families import blocks, predict
from sivgap.dynamics.fit import PARAMETERS, CoupledFit, Estimate, fit_coupled
from sivgap.dynamics.fit_warnings import OF_PANEL, warnings_on_fit, warnings_on_theory
from sivgap.dynamics.forecast import FAMILIES, Forecast, forecast, held_out_errors
from sivgap.dynamics.forecast_limit import limit_over_prompts
from sivgap.dynamics.gls import PromptCovariance
from sivgap.dynamics.goodness import aicc
from sivgap.dynamics.pair_forecast import adaptive_pair
from sivgap.dynamics.population import Population, PromptCurves, over_population, same_panel
from sivgap.dynamics.steps_ahead import steps_ahead
from sivgap.dynamics.verdict import (
    Linearity,
    PhasePlane,
    SeparateRates,
    conserved_drift,
    lack_of_fit,
    linearity,
    phase_plane,
    separate_rates,
)
from sivgap.dynamics.weights import Weights, errors_of, have_errors

_FEWEST_DRAWS = 20
"""Resampled panels below which their spread is no standard error."""

OVER_PROMPTS = "population of prompts"
OVER_PANEL = "this panel"
"""What intervals are of."""


@dataclass(frozen=True)
class Analysis:
    """A fit, its verdict, and a forecast from `mean`, the runs' average curves.

    Attributes:
        weights: Of the fit. of: What the intervals of parameters and limits are of.
        population: Resampled prompts; None where these are not known, or `shared` is not all.
        exponent: The law with a free energy; None with external data, or too few epochs.
        misfit: p value of the law against any curves, by the prompts' covariance.
        limit: Ends of the forecast for the population of prompts, (3, 3) as `Forecast.limit`.
        arrivals: gamma from the verifier's jumps.
    """

    runs: tuple[Curves, ...]
    mean: Curves
    fit: CoupledFit
    weights: Weights
    of: str
    population: Population | None
    test: SeparateRates
    phase: PhasePlane
    exponent: Exponent | None
    misfit: float | None
    linearity: Linearity
    drift: float
    sensitivity: dict[str, float]
    bootstrap: dict[str, Any] | None
    rivals: dict[str, dict[str, float | None]]
    method: Method
    forecast: Forecast
    limit: Array | None
    horizon: float
    cross: CrossFit | None
    arrivals: DirectGamma | None
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
    arrivals: Sequence[Arrival] = (),
    method: Method = "default",
) -> Analysis:
    """Fit `runs`, judge the theory, forecast.

    Args:
        runs: Seeds of one experiment, or runs that share the parameters named in `shared`.
        known: Epochs that the data have; later ones than the runs' last are forecast, too.
        horizon: Forecast to this epoch; twice the last one of the runs by default.
        shared, weights: As in `fit_coupled`.
        draws: Bootstrap refits; 0 leaves the bootstrap out, fewer than 20 leave intervals to this panel.
        seed: Of the bootstrap.
        prompts: Curves of every prompt of each run at the epochs of `average`, where they are stored: intervals and
            tests are then of the population of prompts.
        arrivals: What the verifier did when external data came.
        method: Of the forecast.
    """
    fit = fit_coupled(runs, shared, weights)
    alike = [run for run in runs if run.arrivals == runs[0].arrivals]
    whole = average(alike)
    mean = _in_blocks(whole)
    one_panel = bool(prompts) and same_panel(prompts) and draws >= _FEWEST_DRAWS
    population = None
    if one_panel and len(alike) == len(runs) and set(shared) == set(PARAMETERS) and weights != "huber":
        population = _population(whole, prompts, fit, draws, seed)
        fit = _with_population(fit, population)
    covariance = None if population is None else PromptCovariance.of(_panel(prompts))
    crossed = any(run.arrivals for run in runs)
    test, phase = separate_rates(mean, population), phase_plane(mean, population)
    exponent = None if crossed or len(whole.epoch) < FEWEST else _exponent(whole, mean, fit, population, covariance)
    misfit = None if covariance is None else lack_of_fit(whole, covariance)
    last = float(mean.epoch[-1])
    far = 2 * last if horizon is None else horizon
    ahead = steps_ahead(last, float(np.median(np.diff(mean.epoch))), far, known)
    both = np.stack([mean.solver, mean.verifier])
    said = (forecast if method == "default" else adaptive_pair)(mean.epoch, both[None], ahead)
    cross = fit_cross(runs, seed=seed, prompts=prompts if one_panel else ()) if crossed else None
    by_prompts = population is not None if cross is None else cross.by_prompts
    return Analysis(
        runs=tuple(runs),
        mean=mean,
        fit=fit,
        weights=weights,
        of=OVER_PROMPTS if by_prompts else OVER_PANEL,
        population=population,
        test=test,
        phase=phase,
        exponent=exponent,
        misfit=misfit,
        linearity=linearity(mean),
        drift=conserved_drift(mean, fit),
        sensitivity=_sensitivity(runs, shared),
        bootstrap=_bootstrap(mean, fit, draws, seed, population),
        rivals=_rivals(mean.epoch, both),
        method=method,
        forecast=said,
        limit=None if population is None else limit_over_prompts(whole.epoch, population.curves, said.limit[0], seed),
        horizon=far,
        cross=cross,
        arrivals=direct_gamma(arrivals, seed),
        warnings=[
            *warnings_on_fit(runs, fit, last),
            *([] if crossed else warnings_on_theory(test, phase, misfit, exponent)),
            *([] if by_prompts else [OF_PANEL]),
            *mean.notes,
            *_unlike(runs, alike),
        ],
    )


def _panel(prompts: Sequence[PromptCurves]) -> Array:
    """Solver and verifier of every prompt, (P, 2, T), mean over runs."""
    return np.asarray(np.mean([np.stack([one.solver, one.verifier], axis=1) for one in prompts], axis=0))


def _population(whole: Curves, prompts: Sequence[PromptCurves], fit: CoupledFit, draws: int, seed: int) -> Population:
    """With the weights of the fit, or those of the mean curves where the runs were measured at different epochs."""
    error = fit.errors[0]
    if error is not None and error.shape[1] != len(whole.epoch):
        error = errors_of([whole], "stderr")[0]
    return over_population(whole.epoch, prompts, draws, seed, None if error is None else 1 / error**2)


def _with_population(fit: CoupledFit, population: Population) -> CoupledFit:
    """`fit` with standard errors and intervals for the population; what most draws do not determine has none."""

    def widened(estimate: Estimate, name: str) -> Estimate:
        found = population.quantities.get(name)
        if found is None:
            return replace(estimate, stderr=None, low=None, high=None)
        return replace(estimate, stderr=found.stderr, low=found.low, high=found.high)

    return replace(
        fit,
        parameters={name: widened(one, name) for name, one in fit.parameters.items()},
        limits={name: widened(one, f"{name}_limit") for name, one in fit.limits.items()},
    )


def _exponent(
    whole: Curves, mean: Curves, fit: CoupledFit, population: Population | None, covariance: PromptCovariance | None
) -> Exponent:
    """Of the curves in blocks; over prompts, of all points."""
    error = fit.errors[0]
    if population is None:
        usable = error is not None and error.shape[1] == len(mean.epoch)
        weights = 1 / error**2 if error is not None and usable else None
        return fit_exponent(mean.epoch, np.stack([mean.solver, mean.verifier]), weights)
    usable = error is not None and error.shape[1] == len(whole.epoch)
    weights = 1 / error**2 if error is not None and usable else None
    return fit_exponent(whole.epoch, np.stack([whole.solver, whole.verifier]), weights, population.curves, covariance)


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
    return Curves(
        f"mean of {len(runs)} runs",
        common,
        solver,
        verifier,
        _errors(runs, places, "solver_se"),
        _errors(runs, places, "verifier_se"),
        arrivals=arrivals,
    )


def _errors(runs: Sequence[Curves], places: Sequence[Any], name: str) -> Array | None:
    """Root mean square over the runs, which share a panel: their errors do not average out."""
    found = [getattr(run, name) for run in runs]
    if any(error is None for error in found):
        return None
    squares = [error[place] ** 2 for error, place in zip(found, places, strict=True)]
    return np.asarray(np.sqrt(np.mean(squares, axis=0)))


def _in_blocks(mean: Curves) -> Curves:
    """Long series in block means: verdict, bootstrap and forecast gain nothing from more points, and cost by them."""
    epoch, curves = blocks(mean.epoch, np.stack([mean.solver, mean.verifier]))
    if len(epoch) == len(mean.epoch):
        return replace(mean, notes=())
    note = f"{len(mean.epoch)} epochs: verdict, bootstrap and forecast read means over {len(epoch)} blocks of them."
    return Curves(mean.name, epoch, curves[0], curves[1], notes=(note,))


def _sensitivity(runs: Sequence[Curves], shared: Sequence[str]) -> dict[str, float]:
    """The rate under the other weights: how much it hangs on the choice."""
    by_errors: list[Weights] = ["stderr", "smoothed"] if have_errors(runs) else []
    choices: list[Weights] = ["equal", "huber", *by_errors]
    return {w: fit_coupled(runs, shared, w, intervals=False).parameters["rate"].value for w in choices}


def _bootstrap(
    mean: Curves, fit: CoupledFit, draws: int, seed: int, population: Population | None
) -> dict[str, Any] | None:
    """Over prompts where they are known, else over the residuals of `mean`, which is in blocks."""
    if draws == 0:
        return None
    if population is not None:
        ends = {name: {"low": one.low, "high": one.high} for name, one in population.quantities.items()}
        return {"over": population.over, "draws": draws, "parameters": ends}
    residuals = np.stack([mean.solver - fit.law.solver(mean.epoch), mean.verifier - fit.law.verifier(mean.epoch)])
    refits = over_residuals(mean, residuals, fit.law, draws, seed)
    return {"over": "residuals", "draws": draws, "parameters": percentiles(refits)}


def _rivals(epoch: Array, curves: Array) -> dict[str, dict[str, float | None]]:
    """AICc of each family on all points, and the held-out error of each forecaster (nats)."""
    criteria: dict[str, float | None] = {}
    for family in FAMILIES:
        u = epoch / (epoch[-1] or 1.0)
        found = predict(family, u, curves[None], u[-1:])
        criteria[family.name] = aicc(float(found.sse.sum()), curves.size, family.parameters(len(curves)))
    errors = held_out_errors(epoch, curves)
    return {name: {"aicc": criteria.get(name), "held_out_rmse": error} for name, error in errors.items()}
