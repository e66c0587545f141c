"""Does the run obey the theory? Tests of the coupled law, claim by claim (THEORY sections 6 and 7).

Where every prompt's curves are at hand, the tests are of the population of prompts: a panel's error is correlated
over epochs, and tests that take residuals as independent reject a true law in .13 to .40 of runs. Without them (a bare
table) that is all there is, and `Basis` says so. A run's own training noise is in no test: one run, one path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import f as f_distribution
from scipy.stats import t as student

from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.curves import Curves
from sivgap.dynamics.fit import CoupledFit
from sivgap.dynamics.gls import PromptCovariance
from sivgap.dynamics.goodness import aicc, r_squared
from sivgap.dynamics.phase_plane import bend_of_points
from sivgap.dynamics.population import Population, Resampled
from sivgap.dynamics.projection import project

Basis = Literal["population of prompts", "residuals taken as independent"]
POPULATION: Basis = "population of prompts"
INDEPENDENT: Basis = "residuals taken as independent"

SIGNIFICANCE = 0.05
"""Below this chance under the theory, the theory is rejected."""


@dataclass(frozen=True)
class SeparateRates:
    """One shared rate against a rate for each curve.

    Attributes:
        rates: Per epoch, of solver, verifier and gap, each fitted alone.
        ratio, low, high: The solver's rate over the verifier's and its 90 % interval; the theory says 1. No interval
            without prompts.
        statistic, p_value: log ratio over its standard error, two-sided Student, over prompts; else an F test. None
            with too few points.
        delta_aicc: AICc of the shared rate minus that of separate ones; positive favours separate rates.
        rejected: Whether the shared rate is rejected at 5 %.
        of: What the test takes as random.
    """

    rates: dict[str, float]
    ratio: float
    low: float | None
    high: float | None
    statistic: float | None
    p_value: float | None
    delta_aicc: float | None
    rejected: bool
    of: Basis


@dataclass(frozen=True)
class PhasePlane:
    """U_v is affine in U_s (`sivgap.dynamics.phase_plane`).

    Attributes:
        bend: Depth of the bow, nats. low, high: 90 % over prompts, None without. p_value: of no bow.
        share: `bend` as a share of the range of U_v.
    """

    bend: float
    share: float
    low: float | None
    high: float | None
    p_value: float | None
    rejected: bool
    of: Basis


@dataclass(frozen=True)
class Linearity:
    """dG/dt against G (SV Fig. 2), by regression of the next gap on the present one.

    Attributes:
        r2: Of dG/dt on G.
        slope: Of the figure's line: it estimates -(1 - exp(-r d)) / d with d epochs between points, not -r.
        slope_lagged: -r from the same regression, log(1 + slope d) / d; None where epochs are unevenly spaced, or the
            gap overshoots. Noise biases both towards zero.
        rate: r, its negative.
    """

    r2: float
    slope: float
    slope_lagged: float | None
    rate: float | None


def separate_rates(run: Curves, population: Population | None = None) -> SeparateRates:
    """Test the shared rate of one run, or of a mean of runs; over prompts where `population` resampled them."""
    both = np.stack([run.solver, run.verifier])
    together, alone = _sse(run.epoch, both[None])
    points = both.size
    rates = {
        name: float(project(run.epoch, curve[None, None]).rate[0])
        for name, curve in (("solver", run.solver), ("verifier", run.verifier), ("gap", run.gap))
    }
    criteria = aicc(float(together[0]), points, 5), aicc(float(alone[0]), points, 6)
    delta = None if criteria[0] is None or criteria[1] is None else criteria[0] - criteria[1]
    found = None if population is None else population.quantities.get("log_rate_ratio")
    if found is not None:
        ratio, low, high = (float(np.exp(x)) for x in (found.value, found.low, found.high))
        statistic, p_value = _student(found)
        return SeparateRates(rates, ratio, low, high, statistic, p_value, delta, p_value < SIGNIFICANCE, POPULATION)
    ratio = rates["solver"] / rates["verifier"]
    if points < 7:
        return SeparateRates(rates, ratio, None, None, None, None, None, False, INDEPENDENT)
    statistic, p_value = (float(value[0]) for value in _f_test(together, alone, both.shape))
    return SeparateRates(rates, ratio, None, None, statistic, p_value, delta, p_value < SIGNIFICANCE, INDEPENDENT)


def phase_plane(run: Curves, population: Population | None = None) -> PhasePlane:
    """Test whether U_v is affine in U_s."""
    extent = float(np.ptp(run.verifier))
    found = None if population is None else population.quantities.get("bend")
    if found is not None:
        p_value = _student(found)[1]
        return PhasePlane(
            found.value, found.value / extent, found.low, found.high, p_value, p_value < SIGNIFICANCE, POPULATION
        )
    value, chance = bend_of_points(run.solver, run.verifier)
    rejected = chance is not None and chance < SIGNIFICANCE
    return PhasePlane(value, value / extent, None, None, chance, rejected, INDEPENDENT)


def lack_of_fit(run: Curves, covariance: PromptCovariance) -> float | None:
    """p value of the coupled law against any curves, by the prompts' covariance; None with too few numbers."""
    found = project(run.epoch, np.stack([run.solver, run.verifier])[None])
    (solver, verifier), (solver_fall, verifier_fall) = found.start[0], found.fall[0]

    def law(parameters: Array) -> Array:
        done = np.expm1(-np.exp(parameters[4]) * run.epoch)
        return np.concatenate([parameters[0] + parameters[1] * done, parameters[2] + parameters[3] * done])

    start = np.array([solver, solver_fall, verifier, verifier_fall, np.log(found.rate[0])])
    misfit, _ = covariance.misfit(np.concatenate([run.solver, run.verifier]), law, start)
    return covariance.lack_of_fit(misfit, 5)


def _student(found: Resampled) -> tuple[float, float]:
    """A quantity over its standard error, and the chance of one so far from 0."""
    statistic = found.value / found.stderr if found.stderr > 0 else float(np.copysign(np.inf, found.value))
    return statistic, float(2 * student.sf(abs(statistic), found.freedom))


def shared_rate_test(epoch: Array, curves: Array) -> tuple[Array, Array]:
    """F statistic and p value of one shared rate against separate ones, for curves (B, C, T): (B,) each.

    Residuals count as independent.
    """
    return _f_test(*_sse(epoch, curves), curves.shape[1:])


def _f_test(together: Array, alone: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """From the squared errors of a shared rate and of separate ones, (B,), for curves of `shape` (C, T)."""
    count, points = shape
    extra, freedom = count - 1, count * (points - 3)
    statistic = np.maximum(together - alone, 0.0) / extra / np.maximum(alone / freedom, 1e-300)
    return statistic, np.asarray(f_distribution.sf(statistic, extra, freedom))


def _sse(epoch: Array, curves: Array) -> tuple[Array, Array]:
    """Squared error with one shared rate and with a rate for each curve, (B,)."""
    alone = sum(project(epoch, curves[:, i : i + 1]).sse for i in range(curves.shape[1]))
    return project(epoch, curves).sse, np.asarray(alone)


def conserved_drift(run: Curves, fit: CoupledFit) -> float:
    """Change of Q / alpha = U_v - rho U_s over the run by linear regression, nats.

    Under the theory Q never changes (THEORY section 2); but with rho fitted to the same curves the drift is small
    whatever they are, and tests nothing: `phase_plane` does.
    """
    ratio = float(np.asarray(fit.law.beta_over_alpha))
    q = run.verifier - ratio * run.solver
    centred = run.epoch - run.epoch.mean()
    return float((centred * q).sum() / (centred**2).sum() * np.ptp(run.epoch))


def residual_autocorrelation(residuals: Array) -> float:
    """Lag-one autocorrelation of the residuals (2, T), both curves together: a description, not a test."""
    centred = residuals - residuals.mean(axis=1, keepdims=True)
    total = float((centred**2).sum())
    return float((centred[:, 1:] * centred[:, :-1]).sum()) / total if total > 0 else 0.0


def linearity(run: Curves) -> Linearity:
    """How linear dG/dt is in G."""
    gap, steps = run.gap, np.diff(run.epoch)
    change = np.diff(gap) / steps
    slope, intercept = np.polyfit(gap[:-1], change, 1)
    lagged = None
    if np.allclose(steps, steps[0]):
        factor = 1 + float(slope) * float(steps[0])
        lagged = float(np.log(factor) / steps[0]) if factor > 0 else None
    rate = None if lagged is None else -lagged
    return Linearity(r_squared(change, intercept + slope * gap[:-1]), float(slope), lagged, rate)
