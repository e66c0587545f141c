"""The joint fit: one shared rate for solver and verifier, the gap as their difference (THEORY section 5).

`lmfit` does the fitting, its covariance and its profile-likelihood intervals; the start comes from variable projection.
Several runs can be fitted at once, sharing the parameters that are named.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lmfit
import numpy as np

from sivgap.dynamics.closed_form import Array, Coupled
from sivgap.dynamics.curves import Curves
from sivgap.dynamics.goodness import aicc, r_squared
from sivgap.dynamics.interval import LEVEL
from sivgap.dynamics.projection import project
from sivgap.dynamics.weights import Weights, errors_of, have_errors

PARAMETERS = ("solver_initial", "verifier_initial", "gap_limit", "rate", "beta_over_alpha")
LIMITS = ("solver_limit", "verifier_limit")

_MOST_STEPS, _MOST_EVALUATIONS = 40, 200
"""Of a profile likelihood's search for an end, and of a fit at each step: where data say nothing it would never end."""

_HUBER_SCALE = 1.345
"""Residuals beyond so many standard deviations count linearly: 95 % efficient for normal noise (Huber 1964)."""


@dataclass(frozen=True)
class Estimate:
    """A value, its standard error and 90 % interval; None where the data give none.

    Attributes:
        stderr, low, high: For the population of prompts, once `sivgap.dynamics.analysis` has resampled them; as a fit
            of curves alone leaves them, of this panel.
        panel_low, panel_high: The profile-likelihood interval, which takes the panel of prompts as it is.
    """

    value: float
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    panel_low: float | None = None
    panel_high: float | None = None


@dataclass(frozen=True)
class CoupledFit:
    """What a joint fit found.

    Attributes:
        laws: The fitted law of each run; all the same if all parameters are shared.
        parameters: The five parameters, by name; those of the first run where they are not shared.
        limits: Where solver, verifier and gap end.
        r2: 1 - residual over total sum of squares of each curve, all runs together.
        residuals: Measured minus fitted of each run, (2, T): solver, verifier.
        aicc: Akaike's criterion for small samples, from the unweighted squared error.
        reduced_chi2: Squared error in units of the logged standard errors, a degree of freedom; None without them.
        at_edge: The data do not say what the rate is: nearly a straight line, or over before the second point.
        report: lmfit's own report.
        errors: Standard errors by which the points of each run were divided, (2, T); None where all weigh alike.
    """

    laws: tuple[Coupled, ...]
    parameters: dict[str, Estimate]
    limits: dict[str, Estimate]
    r2: dict[str, float]
    residuals: tuple[Array, ...]
    aicc: float | None
    reduced_chi2: float | None
    at_edge: bool
    report: str
    errors: tuple[Array | None, ...] = ()

    @property
    def law(self) -> Coupled:
        return self.laws[0]


def fit_coupled(
    runs: Curves | Sequence[Curves],
    shared: Sequence[str] = PARAMETERS,
    weights: Weights = "equal",
    intervals: bool = True,
) -> CoupledFit:
    """Least squares of both curves of all `runs`; with `intervals`, profile-likelihood intervals as well.

    Raises:
        ValueError: For a parameter name or weights that do not exist.
        RunError: If weights by standard errors are asked for, and these are missing.
    """
    data = (runs,) if isinstance(runs, Curves) else tuple(runs)
    unknown = set(shared) - set(PARAMETERS)
    if unknown:
        raise ValueError(f"shared: {', '.join(sorted(unknown))} unknown; expected {', '.join(PARAMETERS)}")
    problem = _Problem(data, frozenset(shared), weights)
    natural = _minimise(problem, problem.start())
    found = natural[1]
    asked = _minimise(problem, _as_asked(problem, found.params))
    estimates = _estimates(problem, asked, PARAMETERS, intervals)
    ends = _estimates(problem, natural, LIMITS, intervals)
    laws = tuple(problem.law(found.params, i) for i in range(len(data)))
    residuals = tuple(
        np.stack([run.solver - one.solver(run.epoch), run.verifier - one.verifier(run.epoch)])
        for run, one in zip(data, laws, strict=True)
    )
    sse = float(sum(np.sum(r**2) for r in residuals))
    points = sum(r.size for r in residuals)
    return CoupledFit(
        laws=laws,
        parameters=estimates,
        limits={"solver": ends["solver_limit"], "verifier": ends["verifier_limit"], "gap": estimates["gap_limit"]},
        r2=_r_squared(data, laws),
        residuals=residuals,
        aicc=aicc(sse, points, found.nvarys),
        reduced_chi2=_reduced_chi2(data, residuals, points - found.nvarys),
        at_edge=problem.at_edge,
        report=lmfit.fit_report(asked[1], show_correl=False),
        errors=tuple(problem.errors),
    )


@dataclass
class _Problem:
    """The residuals of several runs under parameters of which some are shared."""

    runs: tuple[Curves, ...]
    shared: frozenset[str]
    weights: Weights
    at_edge: bool = False
    errors: list[Array | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.errors = errors_of(self.runs, self.weights)

    def key(self, name: str, run: int) -> str:
        """The name of a run's parameter; the limits are shared if what determines them is."""
        needs = {"solver_limit": PARAMETERS, "verifier_limit": PARAMETERS}.get(name, (name,))
        return name if self.shared.issuperset(needs) else f"{name}_{run}"

    def start(self) -> lmfit.Parameters:
        """Exact least squares of all runs together, or of each, by variable projection."""
        parameters = lmfit.Parameters()
        for i, run in enumerate(self.runs):
            pooled = self.shared == set(PARAMETERS)
            these = self.runs if pooled else (run,)
            epoch = np.concatenate([r.epoch for r in these])
            curves = np.stack([np.concatenate([getattr(r, c) for r in these]) for c in ("solver", "verifier")])
            scale = float(np.abs(curves).max())
            found = project(
                epoch, curves[None] / scale, _projection_weights(self.errors if pooled else [self.errors[i]])
            )
            start, fall = found.start[0] * scale, found.fall[0] * scale
            values = {
                "solver_initial": start[0],
                "verifier_initial": start[1],
                "solver_limit": start[0] - fall[0],
                "verifier_limit": start[1] - fall[1],
                "rate": found.rate[0],
            }
            self.at_edge = self.at_edge or bool(found.at_edge[0])
            for name, value in values.items():
                if self.key(name, i) not in parameters:
                    parameters.add(self.key(name, i), value=float(value), min=1e-12 if name == "rate" else -np.inf)
        return parameters

    def law(self, parameters: Mapping[str, Any], run: int) -> Coupled:
        """The law of one run under either set of parameters: with limits, or the five that are reported."""

        def value(name: str) -> float:
            return float(parameters[self.key(name, run)].value)

        solver, verifier, rate = value("solver_initial"), value("verifier_initial"), value("rate")
        if self.key("gap_limit", run) in parameters:
            return Coupled(solver, verifier, value("gap_limit"), rate, value("beta_over_alpha"))
        solver_fall, verifier_fall = solver - value("solver_limit"), verifier - value("verifier_limit")
        ratio = verifier_fall / solver_fall if solver_fall else np.inf
        return Coupled(solver, verifier, solver - verifier - solver_fall + verifier_fall, rate, ratio)

    def residual(self, parameters: Mapping[str, Any]) -> Array:
        parts = []
        for i, run in enumerate(self.runs):
            off = np.stack(self._curves(parameters, i)) - np.stack([run.solver, run.verifier])
            error = self.errors[i]
            parts.append((off if error is None else off / error).ravel())
        return np.concatenate(parts)

    def _curves(self, parameters: Mapping[str, Any], run: int) -> tuple[Array, Array]:
        def value(name: str) -> float:
            return float(parameters[self.key(name, run)].value)

        decay = np.expm1(-value("rate") * self.runs[run].epoch)
        solver, verifier = value("solver_initial"), value("verifier_initial")
        if self.key("gap_limit", run) in parameters:
            fall = (solver - verifier - value("gap_limit")) / (1 - value("beta_over_alpha"))
            falls = fall, value("beta_over_alpha") * fall
        else:
            falls = solver - value("solver_limit"), verifier - value("verifier_limit")
        return solver + falls[0] * decay, verifier + falls[1] * decay


def _projection_weights(errors: Sequence[Array | None]) -> Array | None:
    known = [error for error in errors if error is not None]
    return 1 / np.concatenate(known, axis=1) ** 2 if known else None


def _as_asked(problem: _Problem, natural: lmfit.Parameters) -> lmfit.Parameters:
    """The same point in the five parameters that are reported."""
    parameters = lmfit.Parameters()
    for i in range(len(problem.runs)):
        law = problem.law(natural, i)
        for name in PARAMETERS:
            key = problem.key(name, i)
            if key not in parameters:
                value = float(np.asarray(getattr(law, name)))
                parameters.add(key, value=value, min=1e-12 if name == "rate" else -np.inf)
    return parameters


def _minimise(problem: _Problem, start: lmfit.Parameters) -> tuple[lmfit.Minimizer, Any]:
    options: dict[str, Any] = {}
    if problem.weights == "huber":
        first = problem.residual(start)
        scale = float(np.median(np.abs(first - np.median(first)))) / 0.6745 or 1.0
        options = {"loss": "huber", "f_scale": _HUBER_SCALE * scale}
    minimizer = lmfit.Minimizer(problem.residual, start, nan_policy="raise")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an exact fit has no covariance; that shows as a missing standard error
        method = "least_squares" if problem.weights == "huber" else "leastsq"
        return minimizer, minimizer.minimize(method=method, **options)


def _estimates(
    problem: _Problem, solution: tuple[lmfit.Minimizer, Any], names: Sequence[str], intervals: bool
) -> dict[str, Estimate]:
    minimizer, found = solution
    keys = {name: problem.key(name, 0) for name in names}
    bounds: dict[str, tuple[float | None, float | None]] = {}
    errors_known = all(found.params[key].stderr for key in keys.values())
    if intervals and errors_known and problem.weights != "huber":
        bounds = {key: profile(minimizer, found, key) for key in keys.values()}
    return {
        name: Estimate(
            float(found.params[key].value),
            None if found.params[key].stderr is None else float(found.params[key].stderr),
            *bounds.get(key, (None, None)),
            *bounds.get(key, (None, None)),
        )
        for name, key in keys.items()
    }


def profile(minimizer: lmfit.Minimizer, found: Any, key: str) -> tuple[float | None, float | None]:
    """lmfit's 90 % profile-likelihood interval of one parameter; an end that it does not find within reach is None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            minimizer.max_nfev = _MOST_EVALUATIONS
            ends = lmfit.conf_interval(minimizer, found, [key], [LEVEL], maxiter=_MOST_STEPS, min_rel_change=1e-3)[key]
        except (lmfit.MinimizerException, ValueError, ZeroDivisionError, FloatingPointError):
            return None, None
    low, high = ends[0][1], ends[-1][1]
    return (float(low) if np.isfinite(low) else None), (float(high) if np.isfinite(high) else None)


def _r_squared(runs: Sequence[Curves], laws: Sequence[Coupled]) -> dict[str, float]:
    both = list(zip(runs, laws, strict=True))
    return {
        curve: r_squared(
            np.concatenate([getattr(run, curve) for run, _ in both]),
            np.concatenate([getattr(law, curve)(run.epoch) for run, law in both]),
        )
        for curve in ("solver", "verifier", "gap")
    }


def _reduced_chi2(runs: Sequence[Curves], residuals: Sequence[Array], freedom: int) -> float | None:
    if freedom <= 0 or not have_errors(runs):
        return None
    parts = errors_of(runs, "stderr")
    return float(sum(np.sum((r / e) ** 2) for r, e in zip(residuals, parts, strict=True) if e is not None) / freedom)
