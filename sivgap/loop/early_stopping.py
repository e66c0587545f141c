"""When to stop: the gain that is still to be expected, by the same forecast that `sivgap.fit` makes, or a collapse.

The decision reads the trajectory alone, so a resumed run decides as the undisturbed one did.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sivgap.config.schema import TrainConfig
from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.collapse import Alarm, Watched, first_alarm
from sivgap.dynamics.forecast import FEWEST_SEEN, forecast
from sivgap.parallel.group import Group
from sivgap.runs.trajectory import Trajectory
from sivgap.runtime.display import Display


class EarlyStopping:
    """The rule of ``stopping``: ranks of one run decide alike, by what the first one finds."""

    def __init__(self, config: TrainConfig, trajectory: Trajectory, group: Group) -> None:
        self._config, self._trajectory, self._group = config.stopping, trajectory, group
        self._epochs = config.epochs

    @property
    def stops(self) -> bool:
        """Whether the run ends here: it collapses, or all that may still be gained is less than was asked for."""
        if self._config.action == "advise":
            return False
        if self._config.rule == "collapse":
            return self._collapse() is not None
        gain = self._remaining_gain()
        return gain is not None and gain.high < self._config.min_gain

    @property
    def reason(self) -> str:
        """Why a run that stopped did, in a sentence."""
        if self._config.rule == "collapse":
            return "stopped early: the run collapses; its best checkpoint is an earlier one"
        return "stopped early: stopping.min_gain is not to be expected any more"

    def advise(self, display: Display) -> None:
        """Say that the run collapses, or what is still to be gained once it is less than ``stopping.min_gain``."""
        alarm = self._collapse()
        if alarm is not None:
            end = "; stopping here" if self.stops else ""
            display.say(f"collapse, since epoch {alarm.step:g}: {alarm.reason}{end}")
        gain = self._remaining_gain()
        if gain is not None and gain.value < self._config.min_gain:
            display.say(
                f"forecast: U_s will fall by {gain.value:.3f} nats more until epoch {self._epochs:g} (90 %: "
                f"{gain.low:.3f} to {gain.high:.3f})" + ("; stopping here" if self.stops else "")
            )

    def _remaining_gain(self) -> Gain | None:
        """None without this rule, and where nothing can be said yet."""
        if self._config.rule != "forecast":
            return None
        gain = remaining_gain(self._trajectory.read(), self._epochs) if self._group.leads else None
        found = json.loads(self._group.gather(json.dumps(gain and asdict(gain)).encode())[0])
        return found and Gain(**found)

    def _collapse(self) -> Alarm | None:
        """None without this rule, and where the run does not collapse."""
        if self._config.rule != "collapse":
            return None
        alarm = collapse(self._trajectory.read(), self._config.entropy) if self._group.leads else None
        found = json.loads(self._group.gather(json.dumps(alarm and asdict(alarm)).encode())[0])
        return found and Alarm(**found)


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
