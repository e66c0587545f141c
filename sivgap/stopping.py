"""When to stop: the gain that is still to be expected, by the same forecast that `sivgap.fit` makes, or a collapse.

The decision reads the trajectory alone, so a resumed run decides as the undisturbed one did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.collapse import Alarm, Watched, first_alarm
from sivgap.dynamics.forecast import FEWEST_SEEN, forecast


@dataclass(frozen=True)
class Gain:
    """How far U_s is still expected to fall on the held-out panel, nats: the value and its 90 % interval."""

    value: float
    low: float
    high: float


def remaining_gain(lines: Sequence[dict[str, Any]], end: float) -> Gain | None:
    """Expected fall of the held-out U_s from the last of `lines` to epoch `end`.

    Reads the mean over all samples, which has less noise than the first one's. The interval is of the curve: noise of a
    future measurement is not in it. None with fewer measurements than a forecast needs, or at the end.
    """
    held_out = [line for line in lines if line["split"] == "test"]
    if len(held_out) < FEWEST_SEEN + 1 or held_out[-1]["epoch"] >= end:
        return None
    epoch = np.array([line["epoch"] for line in held_out], dtype=np.float64)
    names = ("solver_uncertainty_all", "verifier_uncertainty")
    curves = np.array([[line[name] for line in held_out] for name in names], dtype=np.float64)
    said = forecast(epoch, curves[None], np.array([epoch[-1], end]), noise=False)
    now = float(said.value[0, 0, 0])
    return Gain(now - float(said.value[0, 0, 1]), now - float(said.high[0, 0, 1]), now - float(said.low[0, 0, 1]))


def collapse(lines: Sequence[dict[str, Any]], entropy: float) -> Alarm | None:
    """When and why the run of `lines` began to collapse on its held-out panel; None where it does not.

    Args:
        entropy: Nats a token below which there is too little.
    """
    held_out = [line for line in lines if line["split"] == "test"]
    accuracy = _series(held_out, "solver_accuracy")
    if accuracy is None:
        return None
    return first_alarm(Watched(accuracy, *(_series(held_out, n) for n in ("token_entropy", "solver_length"))), entropy)


def _series(lines: Sequence[dict[str, Any]], name: str) -> tuple[Array, Array] | None:
    """Epochs and values where `name` was measured."""
    known = [(line["epoch"], line[name]) for line in lines if line.get(name) is not None]
    return (np.array([e for e, _ in known]), np.array([v for _, v in known], dtype=np.float64)) if known else None
