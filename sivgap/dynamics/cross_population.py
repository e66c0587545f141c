"""Cross-improvement for the population of prompts: one draw of prompts for all strategies and seeds (THEORY section 7).

The refits of all draws run side by side: Levenberg and Marquardt's method on arrays, started from the fit to all
prompts. Runs given the same data at the same times are averaged first, which changes nothing in a least-squares fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sivgap.dynamics.closed_form import Array, Coupled
from sivgap.dynamics.cross import Form, curves
from sivgap.dynamics.curves import Curves
from sivgap.dynamics.gls import PromptCovariance
from sivgap.dynamics.population import PromptCurves, resample, same_panel

_ROUNDS = 12
_STEP = 1e-6
"""Of the forward differences, relative to a parameter (absolute for those below 1)."""

_RATE = 3
"""Place of the rate, which is refitted as a logarithm, among the parameters."""

_LOG_RATES = -30.0, 30.0
"""Ends of that logarithm: a straight line, and over before anything is measured."""


@dataclass(frozen=True)
class Sweep:
    """Runs of one panel, averaged over those that were given the same data at the same times.

    Attributes:
        runs: One of each group of runs. share: Runs of each group, (G,).
        panel: Solver and verifier of every prompt, (P, G, 2, T), mean over the runs of a group.
        by_seed: The same of each run of a group, (S, P, G, 2, T), where all groups have as many; else `panel` alone.
    """

    runs: tuple[Curves, ...]
    share: Array
    panel: Array
    by_seed: Array

    @property
    def mean(self) -> Array:
        """(G, 2, T) as one row."""
        return np.asarray(self.panel.mean(axis=0).ravel())

    def drawn(self, draws: int, seed: int) -> Array:
        """Means over resampled prompts, and over resampled seeds where there are several, (draws, G 2 T)."""
        rng = np.random.default_rng(seed)
        prompts = resample(rng, draws, self.panel.shape[0]) / self.panel.shape[0]
        share = resample(rng, draws, len(self.by_seed)) / len(self.by_seed)
        flat = self.by_seed.reshape(*self.by_seed.shape[:2], -1)
        return np.asarray(sum(share[:, i, None] * (prompts @ one) for i, one in enumerate(flat)))

    def covariance(self) -> PromptCovariance | None:
        """Of the mean curves over prompts."""
        prompts, groups, count, points = self.panel.shape
        return PromptCovariance.of(self.panel.reshape(prompts, groups * count, points))

    def fitted(self, parameters: Array, form: Form) -> Array:
        """The curves (B, G 2 T) under parameter sets (B, 6), the rate as a logarithm."""
        sets = parameters.T
        law = Coupled(sets[0], sets[1], sets[2], np.exp(np.clip(sets[_RATE], *_LOG_RATES)), sets[_RATE + 1])
        parts = [np.stack(curves(law, sets[-1], form, run.arrivals, run.epoch), axis=-2) for run in self.runs]
        return np.stack(parts, axis=-3).reshape(len(parameters), -1)


def groups_of(runs: Sequence[Curves]) -> list[list[int]]:
    """Places of runs that were measured at the same epochs and given the same data at the same times."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, run in enumerate(runs):
        groups.setdefault((run.arrivals, run.epoch.tobytes()), []).append(i)
    return list(groups.values())


def averaged(runs: Sequence[Curves]) -> tuple[list[Curves], Array]:
    """The mean curves of each of `groups_of`, and how many runs each has: a joint fit of these is that of all."""
    groups = groups_of(runs)
    means = [
        replace(
            runs[group[0]],
            solver=np.mean([runs[i].solver for i in group], axis=0),
            verifier=np.mean([runs[i].verifier for i in group], axis=0),
        )
        for group in groups
    ]
    return means, np.array([len(group) for group in groups], dtype=np.float64)


def sweep_of(runs: Sequence[Curves], prompts: Sequence[PromptCurves]) -> Sweep | None:
    """`runs` with the curves of every prompt at the runs' own epochs; None where these are not of one panel."""
    if len(prompts) != len(runs) or not runs or not same_panel(prompts):
        return None
    if any(one.solver.shape[1] != len(run.epoch) for one, run in zip(prompts, runs, strict=True)):
        return None
    if any(not np.array_equal(run.epoch, runs[0].epoch) for run in runs):
        return None
    groups = groups_of(runs)
    values = [np.stack([one.solver, one.verifier], axis=1) for one in prompts]  # (P, 2, T)
    panel = np.stack([np.mean([values[i] for i in group], axis=0) for group in groups], axis=1)
    sizes = [len(group) for group in groups]
    by_seed = panel[None]
    if len(set(sizes)) == 1:
        by_seed = np.stack([np.stack([values[group[s]] for group in groups], axis=1) for s in range(sizes[0])])
    return Sweep(tuple(runs[g[0]] for g in groups), np.array(sizes, dtype=np.float64), panel, by_seed)


def refit(sweep: Sweep, form: Form, start: Array, seen: Array, bounds: tuple[float, float]) -> Array:
    """Least squares of the rows of `seen` (B, G 2 T) from `start` (6,), gamma within `bounds`: sets (B, 6)."""
    weight = np.sqrt(np.repeat(sweep.share, seen.shape[1] // len(sweep.runs)))
    parameters = np.repeat(_internal(start)[None], len(seen), axis=0)
    model = _model(sweep, form, weight)
    target = seen * weight
    damping = np.full(len(seen), 1e-3)
    fitted = model(parameters)
    error = ((target - fitted) ** 2).sum(axis=1)
    for _ in range(_ROUNDS):
        jacobian = _jacobian(model, parameters, fitted)
        normal = np.einsum("bin,bjn->bij", jacobian, jacobian, optimize=True)
        pull = np.einsum("bin,bn->bi", jacobian, target - fitted)
        diagonal = np.einsum("bii->bi", normal)
        damped = normal + (damping[:, None] * diagonal + 1e-12)[:, :, None] * np.eye(normal.shape[1])
        tried = parameters + np.linalg.solve(damped, pull[..., None])[..., 0]
        tried[:, -1] = np.clip(tried[:, -1], *bounds)
        tried[:, _RATE] = np.clip(tried[:, _RATE], *_LOG_RATES)
        then = model(tried)
        after = ((target - then) ** 2).sum(axis=1)
        better = after < error
        parameters[better], fitted[better], error[better] = tried[better], then[better], after[better]
        damping = np.where(better, damping / 10, damping * 10)
    return _external(parameters)


def influences(sweep: Sweep, form: Form, estimate: Array) -> Array:
    """What each prompt adds to each of the six parameters at the `estimate` (6,): (P, 6), the rate as a logarithm."""
    flat = sweep.panel.reshape(len(sweep.panel), -1)
    weight = np.sqrt(np.repeat(sweep.share, flat.shape[1] // len(sweep.runs)))
    parameters, model = _internal(estimate)[None], _model(sweep, form, weight)
    jacobian = _jacobian(model, parameters, model(parameters))[0]
    return np.asarray(((flat - flat.mean(axis=0)) * weight) @ np.linalg.pinv(jacobian))


def misfit(sweep: Sweep, form: Form, estimate: Array, covariance: PromptCovariance) -> float:
    """The least misfit of `form` by generalised least squares, near the least-squares `estimate` (6,)."""
    return covariance.misfit(sweep.mean, lambda p: sweep.fitted(p[None], form)[0], _internal(estimate))[0]


def _model(sweep: Sweep, form: Form, weight: Array) -> Callable[[Array], Array]:
    return lambda parameters: sweep.fitted(parameters, form) * weight


def _jacobian(model: Callable[[Array], Array], parameters: Array, fitted: Array) -> Array:
    """Forward differences, (B, 6, N)."""
    parts = []
    for i in range(parameters.shape[1]):
        moved = parameters.copy()
        step = _STEP * np.maximum(np.abs(moved[:, i]), 1.0)
        moved[:, i] += step
        parts.append((model(moved) - fitted) / step[:, None])
    return np.stack(parts, axis=1)


def _internal(parameters: Array) -> Array:
    found = np.array(parameters, dtype=np.float64)
    found[..., _RATE] = np.clip(np.log(found[..., _RATE]), *_LOG_RATES)
    return found


def _external(parameters: Array) -> Array:
    found = parameters.copy()
    found[..., _RATE] = np.exp(found[..., _RATE])
    return found
