"""gamma without a fit: from the jump of the verifier when external data come (THEORY section 6, predictions).

At an arrival the verifier is measured twice with the same model: without the new data, U, and with them, before any
training on them, U'. What the three forms of `cross` say of gamma is then arithmetic:

    inverse   U' = U / (1 + gamma eta)    gamma = (U - U') / (eta U')
    linear    U' = U (1 - gamma eta)      gamma = (U - U') / (eta U)
    additive  U' = U - gamma eta          gamma = (U - U') / eta

Pooled over arrivals, numerator and denominator are summed first. The theory says one gamma for all arrivals: tested.
eta is the share of the panel's own prompts that were given a response, where every prompt is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import f as f_distribution

from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.cross import FORMS, Form
from sivgap.dynamics.fit import Estimate
from sivgap.dynamics.interval import bca_interval
from sivgap.dynamics.population import FEWEST_PROMPTS, resample

_DRAWS = 1000


@dataclass(frozen=True)
class Arrival:
    """The verifier when external data came, nats.

    Attributes:
        run: Whose arrival. epoch: When. eta: Share of prompts newly given a response.
        before, after: U_v without and with the new responses, mean over the panel.
        prompts: The same of every prompt and whether it was given one, (P, 3): before, after, given; None where
            samples are not stored.
        ids: Names of the prompts.
    """

    run: str
    epoch: float
    eta: float
    before: float
    after: float
    prompts: Array | None = None
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class DirectGamma:
    """gamma of each arrival and pooled, by form; intervals over prompts where these are known.

    Attributes:
        equal: By form, p value of one gamma for all arrivals; None with a single one, or without prompts.
    """

    arrivals: tuple[Arrival, ...]
    each: tuple[dict[Form, Estimate], ...]
    pooled: dict[Form, Estimate]
    equal: dict[Form, float | None]


def direct_gamma(arrivals: Sequence[Arrival], seed: int = 0) -> DirectGamma | None:
    """gamma from every jump; None without arrivals."""
    if not arrivals:
        return None
    means = np.array([[a.before, a.after, a.eta] for a in arrivals])  # (A, 3)
    known = _panel(arrivals)
    if known is None:
        values = {form: _gamma(means[None], form) for form in FORMS}
        each = tuple({form: Estimate(float(values[form][0, i])) for form in FORMS} for i in range(len(arrivals)))
        pooled = {form: Estimate(float(_pooled(means[None], form)[0])) for form in FORMS}
        return DirectGamma(tuple(arrivals), each, pooled, dict.fromkeys(FORMS))
    prompts = len(known)
    means = known.mean(axis=0)
    weight = resample(np.random.default_rng(seed), _DRAWS, prompts) / prompts
    drawn = (weight @ known.reshape(prompts, -1)).reshape(_DRAWS, *means.shape)
    spread: dict[Form, Array] = {form: _influence(known, means, form, pooled=False) for form in FORMS}
    each = tuple(
        {
            form: _estimate(float(_gamma(means[None], form)[0, i]), _gamma(drawn, form)[:, i], spread[form][:, i])
            for form in FORMS
        }
        for i in range(len(arrivals))
    )
    pooled = {
        form: _estimate(
            float(_pooled(means[None], form)[0]),
            _pooled(drawn, form),
            _influence(known, means, form, pooled=True)[:, 0],
        )
        for form in FORMS
    }
    equal = {form: _equality(_gamma(means[None], form)[0], spread[form]) for form in FORMS}
    return DirectGamma(tuple(arrivals), each, pooled, equal)


def _panel(arrivals: Sequence[Arrival]) -> Array | None:
    """Before, after and given of every prompt at every arrival, (P, A, 3); None where they are not of one panel."""
    found = [a.prompts for a in arrivals if a.prompts is not None and a.ids == arrivals[0].ids]
    if len(found) < len(arrivals) or len(found[0]) < FEWEST_PROMPTS:
        return None
    return np.stack(found, axis=1)


def _parts(means: Array, form: Form) -> tuple[Array, Array]:
    """Numerator and denominator of gamma for means (B, A, 3) of before, after and eta: (B, A) each."""
    before, after, eta = (means[..., i] for i in range(3))
    level = {"inverse": after, "linear": before, "additive": np.ones_like(after)}[form]
    return before - after, eta * level


def _gamma(means: Array, form: Form) -> Array:
    numerator, denominator = _parts(means, form)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(numerator / denominator)


def _pooled(means: Array, form: Form) -> Array:
    numerator, denominator = (part.sum(axis=1) for part in _parts(means, form))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(numerator / denominator)


def _influence(known: Array, means: Array, form: Form, pooled: bool) -> Array:
    """What each prompt adds to each arrival's gamma (P, A), or to the pooled one (P, 1), to first order."""
    numerator, denominator = _parts(means[None], form)
    before, after, eta = (known[..., i] for i in range(3))
    top = (before - after) - numerator[0]
    level = {"inverse": (after, means[:, 1]), "linear": (before, means[:, 0])}.get(form)
    shift = eta - means[:, 2]
    bottom = shift if level is None else shift * level[1] + means[:, 2] * (level[0] - level[1])
    if pooled:
        total = denominator[0].sum()
        gamma = float(numerator[0].sum() / total)
        return np.asarray((top - gamma * bottom).sum(axis=1, keepdims=True) / total)
    return np.asarray((top - numerator[0] / denominator[0] * bottom) / denominator[0])


def _estimate(value: float, draws: Array, influence: Array) -> Estimate:
    ends = bca_interval(value, draws, influence)
    low, high = (None, None) if ends is None else ends
    return Estimate(value, float(influence.std() / np.sqrt(len(influence))), low, high)


def _equality(gamma: Array, influence: Array) -> float | None:
    """Hotelling's test that all arrivals have the same gamma."""
    prompts, count = influence.shape
    if count < 2 or prompts <= count:
        return None
    contrast = np.eye(count)[1:] - np.eye(count)[:1]
    covariance = contrast @ np.atleast_2d(np.cov(influence, rowvar=False)) @ contrast.T / prompts
    off = contrast @ gamma
    statistic = float(off @ np.linalg.pinv(covariance) @ off)
    extra = count - 1
    return float(f_distribution.sf(statistic * (prompts - extra) / ((prompts - 1) * extra), extra, prompts - extra))
