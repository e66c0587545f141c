"""A number with its standard error and 90 % interval, over prompts: responses of one prompt are not independent.

The interval is of the population that the prompts were drawn from, not of these prompts, nor of training or its seed.

    mean, ratio        of any numbers: Student's interval
    proportion, share  of numbers in [0, 1]: Wilson's interval with an effective number of responses, inside [0, 1]
    bootstrap          of what has no formula: percentiles over resampled prompts

Differences and ratios say how many prompts they rest on (`Estimate.informative`): where these are few, the others
contribute exact zeros and the standard error is that of a handful of numbers.
"""

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

FEWEST = 10
"""Informative prompts below which an estimate has no interval and is not shown."""


@dataclass(frozen=True)
class Estimate:
    """All None where nothing could be estimated; `stderr`, `low`, `high` None where a single prompt is all there is.

    Attributes:
        value, stderr, low, high: The number, its standard error and the ends of its 90 % interval.
        informative: Prompts that can contribute something other than 0; None where all can. Below `FEWEST` there are
            no `low` and `high`.
    """

    value: float | None
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    informative: int | None = None

    @property
    def hidden(self) -> bool:
        """Whether it rests on too few prompts to be shown."""
        return self.informative is not None and self.informative < FEWEST

    def record(self) -> dict[str, float | int | None]:
        """As ``evaluation.json`` has it: value, stderr, low, high, and `informative` where it is counted."""
        return {name: value for name, value in vars(self).items() if name != "informative" or value is not None}

    def columns(self, name: str) -> dict[str, float | int | None]:
        """As columns of a table: `name`, `name`_se, `name`_low, `name`_high, and `name`_informative where counted."""
        found: dict[str, float | int | None] = {
            name: self.value, f"{name}_se": self.stderr, f"{name}_low": self.low, f"{name}_high": self.high,
        }  # fmt: skip
        return found if self.informative is None else {**found, f"{name}_informative": self.informative}


UNDEFINED = Estimate(None)


def too_few(informative: int) -> str:
    """What stands in place of a number that rests on too few prompts."""
    return f"too few informative prompts: {informative}"


def count_column(name: str) -> str:
    """The column of a trajectory that says how many prompts its column `name` rests on, where one does: a gap and its
    relative forms rest on the same ones, and so do the AUROCs within prompts."""
    if name.startswith("gv_gap"):
        return "gv_gap_informative"
    return f"{name.replace('likelihood_', 'score_')}_informative"


def mean(by_prompt: Array, informative: Array | Mask | None = None) -> Estimate:
    """The mean of one number a prompt, (P,), with Student's interval.

    Args:
        by_prompt: (P,); a number that cannot leave [0, 1] is a `proportion`.
        informative: Which prompts can be other than 0, (P,); None: all can.
    """
    count = None if informative is None else int(np.sum(informative))
    if not len(by_prompt):
        return Estimate(None, informative=count)
    return _around(float(by_prompt.mean()), by_prompt, count)


def ratio(numerator: Array, denominator: Array, informative: Array | Mask | None = None) -> Estimate:
    """mean(numerator) / mean(denominator), both (P,), with the error of the linearised ratio (delta method).

    `informative` as of `mean`. A ratio that cannot leave [0, 1] is a `share`.
    """
    count = None if informative is None else int(np.sum(informative))
    below = float(denominator.mean()) if len(denominator) else 0.0
    if below == 0:
        return Estimate(None, informative=count)
    value = float(numerator.mean()) / below
    return _around(value, (numerator - value * denominator) / below, count)


def from_influence(value: float, influence: Array, informative: int | None = None) -> Estimate:
    """`value` with Student's interval, its error that of the mean of the prompts' `influence`, (P,)."""
    return _around(value, influence, informative)


def proportion(by_prompt: Array, samples: int = 1, informative: int | None = None) -> Estimate:
    """The mean of numbers in [0, 1], one a prompt, (P,), with an interval that stays in [0, 1] and has a width.

    Args:
        by_prompt: Mean over a prompt's responses (accuracy, share finished, pass@k ...), (P,).
        samples: N, independent responses behind each; of pass@k N / k.
        informative: How many prompts there are to be averaged, where only some have such a number.
    """
    return share(by_prompt, np.ones_like(by_prompt), len(by_prompt) * max(samples, 1), informative)


def share(part: Array, whole: Array, trials: float | None = None, informative: int | None = None) -> Estimate:
    """sum(part) / sum(whole), 0 <= part <= whole, both (P,): a share of responses whose number differs by prompt.

    Args:
        part, whole: Of each prompt, (P,); counts, such as right responses kept and right responses.
        trials: Responses in all; None: the sum of `whole`.
        informative: As of `proportion`.
    """
    counted = whole > 0
    found = ratio(part[counted], whole[counted])
    if found.value is None or found.stderr is None:
        return Estimate(found.value, informative=informative)
    within = wilson(found.value, found.stderr, int(counted.sum()), float(whole.sum()) if trials is None else trials)
    return Estimate(found.value, found.stderr, *_unless_few(within, informative), informative)


def wilson(value: float, stderr: float, prompts: int, trials: float) -> tuple[float, float]:
    """Ends of the 90 % interval of a share from its clustered standard error: Wilson's (1927) with an effective size.

    The error says how many independent trials the data are worth, n = value (1 - value) / stderr^2, at most `trials`;
    where it is 0, as for a share of 0 or 1, each prompt counts as one. The quantile is Student's with P - 1 degrees of
    freedom, since the error is estimated from P prompts (as Korn and Graubard 1998 do for surveys).

    Args:
        value: In [0, 1].
        stderr: Of `value`, over prompts.
        prompts: P, two at least.
        trials: Responses in all.
    """
    size = float(np.clip(value * (1 - value) / stderr**2, 1, max(trials, 1))) if stderr > 0 else float(prompts)
    z = float(stdtrit(prompts - 1, (1 + LEVEL) / 2))
    scale = 1 + z**2 / size
    middle = (value + z**2 / (2 * size)) / scale
    half = z * float(np.sqrt(value * (1 - value) / size + z**2 / (4 * size**2))) / scale
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _around(value: float, influence: Array, informative: int | None = None) -> Estimate:
    """The estimate whose error is that of the mean of `influence`, (P,)."""
    prompts = len(influence)
    if prompts < 2:
        return Estimate(value, informative=informative)
    error = float(influence.std(ddof=1) / np.sqrt(prompts))
    half = float(stdtrit(prompts - 1, (1 + LEVEL) / 2)) * error
    return Estimate(value, error, *_unless_few((value - half, value + half), informative), informative)


def _unless_few(interval: tuple[float, float], informative: int | None) -> tuple[float | None, float | None]:
    return (None, None) if informative is not None and informative < FEWEST else interval


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
