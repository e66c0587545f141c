"""Does the run obey the theory? Tests of the coupled law, and what they say in plain sentences (THEORY section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import f as f_distribution
from scipy.stats import norm

from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.curves import Curves
from sivgap.dynamics.fit import CoupledFit, aicc, r_squared
from sivgap.dynamics.projection import project

SIGNIFICANCE = 0.05
"""Below this chance under the theory, the theory is rejected."""

_POWER_RUNS = 300
"""Simulated runs from which power is estimated: its standard error is then at most 3 points."""

_FLAT = 0.5
"""R^2 of a curve below which its exponential is called no description at all."""


@dataclass(frozen=True)
class SeparateRates:
    """The theory's own falsification test: one shared rate against a rate for each curve.

    Attributes:
        rates: Per epoch, of solver, verifier and gap, each fitted alone.
        statistic, p_value: F test of the shared rate (one more parameter); None with too few points.
        delta_aicc: AICc of the shared rate minus that of separate ones; positive favours separate rates.
        rejected: Whether the shared rate is rejected at 5 %.
        power: Chance that a run this long and noisy, with the rates found, rejects.
    """

    rates: dict[str, float]
    statistic: float | None
    p_value: float | None
    delta_aicc: float | None
    rejected: bool
    power: float | None


@dataclass(frozen=True)
class Linearity:
    """dG/dt against G (SV Fig. 2). Differences of noisy points bias `slope` towards zero; `slope_lagged` regresses
    G_{t+1} on G_t instead. Both estimate minus the rate; None where epochs are unevenly spaced."""

    r2: float
    slope: float
    slope_lagged: float | None


def separate_rates(run: Curves, seed: int = 0) -> SeparateRates:
    """Test the shared rate of one run."""
    both = np.stack([run.solver, run.verifier])
    together, alone = _sse(run.epoch, both[None])
    points = both.size
    rates = {
        name: float(project(run.epoch, curve[None, None]).rate[0])
        for name, curve in (("solver", run.solver), ("verifier", run.verifier), ("gap", run.gap))
    }
    if points < 7:
        return SeparateRates(rates, None, None, None, False, None)
    statistic, p_value = (float(value[0]) for value in _f_test(together, alone, both.shape))
    criteria = aicc(float(together[0]), points, 5), aicc(float(alone[0]), points, 6)
    delta = None if criteria[0] is None or criteria[1] is None else criteria[0] - criteria[1]
    return SeparateRates(rates, statistic, p_value, delta, p_value < SIGNIFICANCE, _power(run, seed))


def shared_rate_test(epoch: Array, curves: Array) -> tuple[Array, Array]:
    """F statistic and p value of one shared rate against separate ones, for curves (B, C, T): (B,) each."""
    return _f_test(*_sse(epoch, curves), curves.shape[1:])


def _f_test(together: Array, alone: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """From the squared errors of a shared rate and of separate ones, (B,), for curves of `shape` (C, T)."""
    count, points = shape
    extra, freedom = count - 1, count * (points - 3)
    statistic = np.maximum(together - alone, 0.0) / extra / np.maximum(alone / freedom, 1e-300)
    return statistic, np.asarray(f_distribution.sf(statistic, extra, freedom))


def _power(run: Curves, seed: int) -> float:
    """Share of simulated runs, with the separate rates and the noise that were found, that reject the shared rate."""
    rng = np.random.default_rng(seed)
    simulated = np.empty((_POWER_RUNS, 2, len(run.epoch)))
    for i, curve in enumerate((run.solver, run.verifier)):
        found = project(run.epoch, curve[None, None])
        fitted = found.start[0, 0] + found.fall[0, 0] * np.expm1(-found.rate[0] * run.epoch)
        noise = np.sqrt(found.sse[0] / max(len(curve) - 3, 1))
        simulated[:, i] = fitted + noise * rng.standard_normal((_POWER_RUNS, len(curve)))
    return float(np.mean(shared_rate_test(run.epoch, simulated)[1] < SIGNIFICANCE))


def _sse(epoch: Array, curves: Array) -> tuple[Array, Array]:
    """Squared error with one shared rate and with a rate for each curve, (B,)."""
    alone = sum(project(epoch, curves[:, i : i + 1]).sse for i in range(curves.shape[1]))
    return project(epoch, curves).sse, np.asarray(alone)


def conserved_drift(run: Curves, fit: CoupledFit) -> tuple[float, float]:
    """Change of Q / alpha = U_v - rho U_s over the run by linear regression, and its standard error (nats).

    Under the theory Q never changes (THEORY section 2).
    """
    ratio = float(np.asarray(fit.law.beta_over_alpha))
    q = run.verifier - ratio * run.solver
    slope, error = _slope(run.epoch, q)
    span = float(np.ptp(run.epoch))
    return slope * span, error * span


def residual_autocorrelation(residuals: Array) -> tuple[float, float]:
    """Lag-one autocorrelation of the residuals (2, T), both curves together, and the chance of one so large.

    A law that fits leaves noise; a law that does not leaves waves.
    """
    centred = residuals - residuals.mean(axis=1, keepdims=True)
    total = float((centred**2).sum())
    if total == 0:
        return 0.0, 1.0
    value = float((centred[:, 1:] * centred[:, :-1]).sum()) / total
    pairs = centred[:, 1:].size
    return value, float(norm.sf(value * np.sqrt(pairs)))


def linearity(run: Curves) -> Linearity:
    """How linear dG/dt is in G."""
    gap, steps = run.gap, np.diff(run.epoch)
    change = np.diff(gap) / steps
    slope, intercept = np.polyfit(gap[:-1], change, 1)
    lagged = None
    if np.allclose(steps, steps[0]):
        factor = float(np.polyfit(gap[:-1], gap[1:], 1)[0])
        lagged = float(np.log(factor) / steps[0]) if factor > 0 else None
    return Linearity(r_squared(change, intercept + slope * gap[:-1]), float(slope), lagged)


def warnings_of(runs: Sequence[Curves], fit: CoupledFit, test: SeparateRates, last_epoch: float) -> list[str]:
    """What a reader must know before using the numbers, in plain sentences.

    Runs with external data are not judged by the law of self-improvement, which they leave when the data come.
    """
    said = [note for run in runs for note in run.notes]
    points = sum(len(run.epoch) for run in runs)
    if points < 8:
        said.append(f"Only {points} epochs: five parameters are fitted to {2 * points} numbers.")
    solver_fall, verifier_fall, gap_fall = (float(np.asarray(fall)) for fall in fit.law.falls)
    if solver_fall <= 0:
        said.append("The solver's uncertainty rises: this is no self-improvement, and the limits mean little.")
    if verifier_fall <= 0 < solver_fall:
        said.append("The verifier's uncertainty rises, which the theory excludes (beta >= 0).")
    if verifier_fall > solver_fall > 0:
        said.append(
            "The verifier falls further than the solver, which the theory excludes (beta < alpha): the gap grows."
        )
    if gap_fall <= 0 < solver_fall and verifier_fall <= solver_fall:
        said.append("The gap does not close.")
    poor = [name for name in ("solver", "verifier") if fit.r2[name] < _FLAT]
    if poor:
        said.append(
            f"The law describes less than half of the {' and the '.join(poor)}'s movement: do not use its limits."
        )
    limit = fit.limits["solver"]
    covered = 1 - float(np.exp(-fit.parameters["rate"].value * last_epoch))
    if fit.at_edge or covered < 0.5 or limit.low is None or limit.high is None:
        said.append(
            f"The limit is not identified: the run has covered {covered:.0%} of the way to it. Train longer, or use "
            "the forecast with its interval."
        )
    if any(float(np.asarray(end)) < 0 for end in fit.law.limits[:2]):
        said.append("A fitted limit is negative, which an uncertainty cannot be.")
    return said if any(run.arrivals for run in runs) else said + _on_the_theory(fit, test)


def _on_the_theory(fit: CoupledFit, test: SeparateRates) -> list[str]:
    said = []
    if test.rejected:
        rates = test.rates
        said.append(
            f"One shared rate is rejected (p = {test.p_value:.2g}): fitted alone, the solver's rate is "
            f"{rates['solver']:.3g}, the verifier's {rates['verifier']:.3g}, the gap's {rates['gap']:.3g} an epoch. "
            "The law summarises this run; it does not describe it exactly."
        )
    elif test.power is not None and test.power < 0.8:
        said.append(
            f"One shared rate is not rejected, but a run this long and noisy would notice the difference found only "
            f"{test.power:.0%} of the time."
        )
    waves = [residual_autocorrelation(r) for r in fit.residuals]
    if any(p < SIGNIFICANCE for _, p in waves):
        said.append(
            f"Residuals are not noise (autocorrelation {max(w for w, _ in waves):.2f}): standard errors and intervals "
            "of the parameters are too narrow."
        )
    return said


def _slope(x: Array, y: Array) -> tuple[float, float]:
    """Slope of a regression line and its standard error."""
    centred = x - x.mean()
    slope = float((centred * y).sum() / (centred**2).sum())
    residual = y - y.mean() - slope * centred
    error = np.sqrt((residual**2).sum() / max(len(x) - 2, 1) / (centred**2).sum())
    return slope, float(error)
