"""A number with its standard error and 90 % interval, over prompts: responses of one prompt are not independent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from sivgap.dynamics.interval import LEVEL, percentile_interval

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

DRAWS = 1000
"""Bootstrap samples of prompts; their noise in an interval's ends is about a twentieth of the interval's width."""


@dataclass(frozen=True)
class Estimate:
    """All None where nothing could be estimated; the last three None where a single prompt is all there is."""

    value: float | None
    stderr: float | None = None
    low: float | None = None
    high: float | None = None

    def columns(self, name: str) -> dict[str, float | None]:
        """As columns of a table: `name`, `name`_se, `name`_low, `name`_high."""
        return {name: self.value, f"{name}_se": self.stderr, f"{name}_low": self.low, f"{name}_high": self.high}


UNDEFINED = Estimate(None)


def mean(by_prompt: Array) -> Estimate:
    """The mean of one number a prompt, (P,), with Student's interval."""
    return _around(float(by_prompt.mean()), by_prompt) if len(by_prompt) else UNDEFINED


def ratio(numerator: Array, denominator: Array) -> Estimate:
    """mean(numerator) / mean(denominator), both (P,), with the error of the linearised ratio (delta method)."""
    below = float(denominator.mean()) if len(denominator) else 0.0
    if below == 0:
        return UNDEFINED
    value = float(numerator.mean()) / below
    return _around(value, (numerator - value * denominator) / below)


def _around(value: float, influence: Array) -> Estimate:
    """The estimate whose error is that of the mean of `influence`, (P,)."""
    prompts = len(influence)
    if prompts < 2:
        return Estimate(value)
    error = float(influence.std(ddof=1) / np.sqrt(prompts))
    half = float(stdtrit(prompts - 1, (1 + LEVEL) / 2)) * error
    return Estimate(value, error, value - half, value + half)


def bootstrap(statistic: Callable[[Array], Array], prompts: int, draws: int = DRAWS, seed: int = 0) -> list[Estimate]:
    """Estimates of K numbers at once, with percentile intervals over resampled prompts.

    Args:
        statistic: Maps how often each prompt counts, (P,), to the K numbers; NaN for what does not exist. At all ones
            it gives the values.
        prompts: P.
        draws: Samples of prompts, with replacement.
        seed: Of the samples.
    """
    values = statistic(np.ones(prompts))
    counts = np.random.default_rng(seed).multinomial(prompts, np.full(prompts, 1 / prompts), size=draws)
    drawn = np.stack([statistic(count.astype(np.float64)) for count in counts])
    return [_of_draws(float(value), drawn[:, k]) for k, value in enumerate(values)]


def _of_draws(value: float, draws: Array) -> Estimate:
    finite = draws[np.isfinite(draws)]
    if not np.isfinite(value):
        return UNDEFINED
    if len(finite) < 2:
        return Estimate(value)
    return Estimate(value, float(finite.std(ddof=1)), *percentile_interval(finite))
