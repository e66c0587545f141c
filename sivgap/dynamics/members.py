"""What a forecast of a single curve is made of: each member forecasts falling curves on its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.families import DELAYED, predict
from sivgap.dynamics.forecast import combined
from sivgap.dynamics.local import Local, damped_slope, level

_DELAYED_REACH = 1.0
"""Ranges seen that an S-shape may still go, as the deviation of a prior: before it turns the data do not say."""


@dataclass(frozen=True)
class Member:
    """Of B curves at M times: mean and variance of the curve (B, M), and of a measurement around it (B,)."""

    mean: Array
    variance: Array
    noise: Array


Forecaster = Callable[[Array, Array, Array], Member]
"""(times seen (T,), falling curves (B, T), times asked for (M,)) -> forecast; time is 1 where the data end."""


def families(u: Array, curves: Array, at: Array) -> Member:
    """The default: the median of four families."""
    value, curve, noise = combined(u, curves[:, None], at, positive=True)
    return Member(value[:, 0], curve[:, 0], noise[:, 0])


def s_shape(u: Array, curves: Array, at: Array) -> Member:
    """A delayed exponential."""
    found = predict(DELAYED, u, curves[:, None], at, reach=_DELAYED_REACH)
    return Member(found.mean[:, 0], found.variance[:, 0], found.noise[:, 0])


def _local(forecaster: Callable[[Array, Array], Local]) -> Forecaster:
    def member(u: Array, curves: Array, at: Array) -> Member:
        found = forecaster(curves, np.maximum((at - u[-1]) / np.median(np.diff(u)), 0.0))
        return Member(found.mean, found.variance, found.noise)

    return member


MEMBERS: dict[str, Forecaster] = {
    "families": families,
    "level": _local(level),
    "damped_slope": _local(damped_slope),
    "s_shape": s_shape,
}
