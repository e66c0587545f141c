"""The joint fit of runs that were given external data: the five parameters of the coupled law, and gamma (THEORY 3).

The exact ordered product is fitted under each of the three forms. Where every prompt is known, generalised least
squares with the prompts' covariance says which form the data prefer, and intervals are of the population of prompts;
from curves alone AICc does, which takes residuals as independent and finds the right form less often. The order-free
approximation of SV Prop. 5.1 is evaluated beside it, never fitted.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import lmfit
import numpy as np

from sivgap.dynamics.closed_form import Array, Coupled, Rates
from sivgap.dynamics.cross import FORMS, Form, curves, order_free
from sivgap.dynamics.cross_population import Sweep, averaged, influences, misfit, refit, sweep_of
from sivgap.dynamics.curves import Curves
from sivgap.dynamics.equations import discrete_rate
from sivgap.dynamics.fit import PARAMETERS, Estimate, fit_coupled, profile
from sivgap.dynamics.goodness import aicc, r_squared
from sivgap.dynamics.interval import bca_interval, percentile_interval
from sivgap.dynamics.population import PromptCurves

GAMMA_STARTS = (0.1, 0.5, 2.0, 8.0)
"""Fits start from each; the squared error decides."""

_FOREVER = 40.0
"""Time constants after which nothing is left to happen."""

_DRAWS = 200
"""Parameter sets drawn from the fit's covariance, for intervals of what is predicted from it."""

_REFITS = 400
"""Refits to resampled prompts."""

NAMES = (*PARAMETERS, "gamma")


@dataclass(frozen=True)
class CrossFit:
    """The preferred form and its parameters.

    Attributes:
        form: That the data prefer, by `support`.
        aicc: Of each form, residuals taken as independent.
        support: Akaike weight of each form; all have six parameters, so it goes by the misfit alone.
        by_prompts: Whether `support` and intervals are of the population of prompts, else of this panel.
        parameters: The five of the coupled law, and ``gamma``.
        gamma: Under each form.
        limits: Where the first run's solver, verifier and gap end, after all the data it was given.
        r2: Of each curve, all runs together.
        draws: Parameter sets (D, 6) in the order of `names`: refits to resampled prompts, or drawn from the fit's
            covariance; empty where there is neither.
        order_free_error: Largest error of the order-free approximation at the runs' ends, nats.
    """

    form: Form
    aicc: dict[Form, float | None]
    support: dict[Form, float]
    by_prompts: bool
    parameters: dict[str, Estimate]
    gamma: dict[Form, Estimate]
    limits: dict[str, Estimate]
    r2: dict[str, float]
    draws: Array
    order_free_error: float

    @property
    def names(self) -> tuple[str, ...]:
        return NAMES

    @property
    def law(self) -> Coupled:
        return Coupled(*(self.parameters[name].value for name in PARAMETERS))


def laws_of(draws: Array) -> tuple[Coupled, Array]:
    """Parameter sets (D, 6) as laws and their gamma."""
    return Coupled(*draws[:, : len(PARAMETERS)].T), draws[:, -1]


def fit_cross(
    runs: Sequence[Curves], intervals: bool = True, seed: int = 0, prompts: Sequence[PromptCurves] = ()
) -> CrossFit:
    """Fit all `runs` with shared parameters; at least one must have arrivals.

    Args:
        intervals: Also profile-likelihood intervals of this panel, and refits to resampled `prompts`.
        seed: Of the draws.
        prompts: Curves of every prompt of each run at its epochs, where they are stored.

    Raises:
        ValueError: If no run has arrivals.
    """
    most = max((eta for run in runs for _, eta in run.arrivals), default=0.0)
    if most == 0:
        raise ValueError("no run was given external data")
    plain = [run for run in runs if not run.arrivals] or list(runs)
    start = fit_coupled(plain, intervals=False).law
    means, counts = averaged(runs)
    found = {form: _fit_form(means, counts, form, start, most) for form in FORMS}
    points = sum(2 * len(run.epoch) for run in means)
    criteria = {form: aicc(float(result.chisqr), points, 6) for form, (_, result) in found.items()}
    sweep = sweep_of(runs, prompts) if prompts else None
    support = _support(found, sweep, points)
    form = max(FORMS, key=lambda name: support[name])
    estimates = {name: _estimates(found[name], intervals, name == form) for name in FORMS}
    draws = _draw(found[form][1], NAMES, seed)
    if sweep is not None and intervals:
        refits = {name: _over_prompts(sweep, name, estimates[name], most, seed) for name in FORMS}
        estimates = {name: one[0] for name, one in refits.items()}
        draws = refits[form][1]
    parameters = estimates[form]
    law = Coupled(*(parameters[name].value for name in PARAMETERS))
    gamma = parameters["gamma"].value
    return CrossFit(
        form,
        criteria,
        support,
        sweep is not None,
        parameters,
        {name: estimates[name]["gamma"] for name in FORMS},
        _limits(runs[0], law, gamma, form, draws),
        _r_squared(runs, law, gamma, form),
        draws,
        _order_free_error(runs, law, gamma, form),
    )


def prompt_draws(
    runs: Sequence[Curves], prompts: Sequence[PromptCurves], fit: CrossFit, count: int, seed: int = 0
) -> Array:
    """Refits of the form of `fit` to `count` resampled panels, (count, 6); empty where prompts are not of one panel."""
    sweep = sweep_of(runs, prompts) if prompts else None
    if sweep is None:
        return np.empty((0, len(NAMES)))
    most = max(eta for run in runs for _, eta in run.arrivals)
    values = np.array([fit.parameters[name].value for name in NAMES])
    return refit(sweep, fit.form, values, sweep.drawn(count, seed), (-0.9 / most, highest_gamma(fit.form, most)))


def highest_gamma(form: Form, most: float) -> float:
    """Beyond which the linear form would turn the verifier's uncertainty negative."""
    return 0.999 / most if form == "linear" else np.inf


def _support(found: dict[Form, tuple[lmfit.Minimizer, Any]], sweep: Sweep | None, points: int) -> dict[Form, float]:
    """Akaike weights: by generalised least squares where prompts are known, else by independent residuals."""
    covariance = None if sweep is None else sweep.covariance()
    if sweep is not None and covariance is not None:
        misfits = {f: misfit(sweep, f, _values(result), covariance) for f, (_, result) in found.items()}
        deviance = np.array([covariance.criterion(misfits[f]) for f in FORMS])
    else:
        errors = np.array([float(found[f][1].chisqr) for f in FORMS])
        deviance = points * np.log(np.maximum(errors, 1e-300))
    weight = np.exp(-(deviance - deviance.min()) / 2)
    return {form: float(share) for form, share in zip(FORMS, weight / weight.sum(), strict=True)}


def _values(result: Any) -> Array:
    return np.array([float(result.params[name].value) for name in NAMES])


def _estimates(solution: tuple[lmfit.Minimizer, Any], intervals: bool, preferred: bool) -> dict[str, Estimate]:
    """The six parameters of one form, of this panel; profile intervals of `preferred`'s, and of the others' gamma."""
    minimizer, result = solution
    known = intervals and all(result.params[name].stderr for name in NAMES)
    found = {}
    for name in NAMES:
        stderr = result.params[name].stderr
        ends = profile(minimizer, result, name) if known and (preferred or name == "gamma") else (None, None)
        found[name] = Estimate(
            float(result.params[name].value), None if stderr is None else float(stderr), *ends, *ends
        )
    return found


def _over_prompts(
    sweep: Sweep, form: Form, estimates: dict[str, Estimate], most: float, seed: int
) -> tuple[dict[str, Estimate], Array]:
    """Standard errors and intervals for the population of prompts, and the refits (D, 6)."""
    values = np.array([estimates[name].value for name in NAMES])
    bounds = (-0.9 / most, highest_gamma(form, most))
    drawn = refit(sweep, form, values, sweep.drawn(_REFITS, seed), bounds)
    spread = influences(sweep, form, values)
    found = {}
    for i, name in enumerate(NAMES):
        scale = np.log if name == "rate" else np.asarray
        ends = bca_interval(float(scale(values[i])), np.asarray(scale(drawn[:, i])), spread[:, i])
        if ends is not None and name == "rate":
            ends = float(np.exp(ends[0])), float(np.exp(ends[1]))
        stderr = float(np.ptp(np.quantile(drawn[:, i], [0.1587, 0.8413]))) / 2
        low, high = (None, None) if ends is None else ends
        found[name] = replace(estimates[name], stderr=stderr, low=low, high=high)
    return found, drawn


def _limits(run: Curves, law: Coupled, gamma: float, form: Form, draws: Array) -> dict[str, Estimate]:
    """Ends of `run`, with intervals over the draws."""
    last = run.arrivals[-1][0] if run.arrivals else 0.0

    def ends(law: Coupled, gamma: Array | float) -> tuple[Array, Array, Array]:
        far = np.array([last + _FOREVER / float(np.min(law.rate))])
        solver, verifier = (curve[..., 0] for curve in curves(law, gamma, form, run.arrivals, far))
        return solver, verifier, solver - verifier

    drawn = ends(*laws_of(draws)) if len(draws) else None
    return {
        name: Estimate(float(value), None, *((None, None) if drawn is None else percentile_interval(drawn[i])))
        for i, (name, value) in enumerate(zip(("solver", "verifier", "gap"), ends(law, gamma), strict=True))
    }


def _r_squared(runs: Sequence[Curves], law: Coupled, gamma: float, form: Form) -> dict[str, float]:
    fitted = [curves(law, gamma, form, run.arrivals, run.epoch) for run in runs]
    pairs = {
        "solver": ([run.solver for run in runs], [solver for solver, _ in fitted]),
        "verifier": ([run.verifier for run in runs], [verifier for _, verifier in fitted]),
        "gap": ([run.gap for run in runs], [solver - verifier for solver, verifier in fitted]),
    }
    return {name: r_squared(np.concatenate(seen), np.concatenate(law)) for name, (seen, law) in pairs.items()}


def _fit_form(
    runs: Sequence[Curves], counts: Array, form: Form, start: Coupled, most: float
) -> tuple[lmfit.Minimizer, Any]:
    """The best of several starts under one form; each of the `runs` stands for so many."""

    roots = np.sqrt(counts)

    def residual(parameters: lmfit.Parameters) -> Array:
        law = Coupled(*(parameters[name].value for name in PARAMETERS))
        parts = []
        for run, root in zip(runs, roots, strict=True):
            solver, verifier = curves(law, parameters["gamma"].value, form, run.arrivals, run.epoch)
            parts += [root * (solver - run.solver), root * (verifier - run.verifier)]
        return np.concatenate(parts)

    attempts = []
    for gamma in GAMMA_STARTS:
        parameters = lmfit.Parameters()
        for name in PARAMETERS:
            value = float(np.asarray(getattr(start, name)))
            parameters.add(name, value=value, min=1e-12 if name == "rate" else -np.inf)
        highest = highest_gamma(form, most)
        parameters.add("gamma", value=min(gamma, 0.9 * highest), min=-0.9 / most, max=highest)
        minimizer = lmfit.Minimizer(residual, parameters, nan_policy="raise")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an exact fit has no covariance; that shows as a missing standard error
            attempts.append((minimizer, minimizer.minimize(method="leastsq")))
    return min(attempts, key=lambda attempt: float(attempt[1].chisqr))


def _order_free_error(runs: Sequence[Curves], law: Coupled, gamma: float, form: Form) -> float:
    """Of SV Prop. 5.1 at the ends of the runs, in the gauge of the unit-step map."""
    shrink = discrete_rate(float(np.asarray(law.rate)))
    ratio = float(np.asarray(law.beta_over_alpha))
    alpha = shrink / (1 - ratio)
    rates = Rates(alpha, ratio * alpha, 1.0, float(np.asarray(law.gap_limit)))
    start = float(np.asarray(law.solver_initial)), float(np.asarray(law.verifier_initial))
    errors = []
    for run in runs:
        end, total = float(run.epoch[-1]), sum(eta for _, eta in run.arrivals)
        exact = curves(law, gamma, form, run.arrivals, np.array([end]))
        crude = order_free(start, rates, gamma, total, end)
        errors += [abs(float(exact[0][0]) - crude[0]), abs(float(exact[1][0]) - crude[1])]
    return max(errors)


def _draw(result: Any, names: Sequence[str], seed: int) -> Array:
    if result.covar is None or not np.isfinite(result.covar).all():
        return np.empty((0, len(names)))
    mean = np.array([result.params[name].value for name in names])
    order = [result.var_names.index(name) for name in names]
    covariance = np.asarray(result.covar)[np.ix_(order, order)]
    spectrum = np.linalg.eigvalsh(covariance)
    if spectrum[0] < -1e-8 * spectrum[-1]:  # the squared error is no bowl here: there is no covariance to draw from
        return np.empty((0, len(names)))
    draws = np.random.default_rng(seed).multivariate_normal(
        mean, covariance, _DRAWS, check_valid="ignore", method="eigh"
    )
    draws[:, names.index("rate")] = np.maximum(draws[:, names.index("rate")], 1e-6)
    return np.asarray(draws)
