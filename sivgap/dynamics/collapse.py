"""The alarm: training that has begun to destroy what it taught (issue of SV App. A.2; GRPO runs do it, too).

Three signs, each read from what had been seen at the time: accuracy has come down from its best; the entropy of
tokens has fallen below a threshold, or the length of responses has run away from where it began, *and* accuracy is not
at its best. Entropy and length alone are no alarm where accuracy is known: healthy runs end with next to no entropy,
and learn to write longer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.shape import averaged, noise_of

ENTROPY = 0.05
"""Nats a token below which a model hardly samples any more."""

_SHORTER, _LONGER = 1 / 3, 2.0
"""Lengths, in units of the first ones, beyond which they have run away."""

_DOWN_NOISE = 3.5
"""Standard errors by which accuracy must have come down."""

_DOWN_SHARE = 0.12
"""And the share of its best."""

_BELOW_NOISE, _BELOW_SHARE = 3.0, 0.04
"""The same for accuracy that is not at its best, beside another sign."""

_WINDOW = 3
_PARTS = 8
"""Accuracy is averaged over three measurements, or this part of them: the best of many means is high by chance."""

_FEWEST = 6
"""Measurements from which on there is something to come down from; fewer of accuracy are taken as they are."""


@dataclass(frozen=True)
class Watched:
    """What a run measured, each series at its own ascending steps; empty where there is none.

    Attributes:
        accuracy: A share. entropy: Nats a token. length: Tokens a response. Each (steps, values).
    """

    accuracy: tuple[Array, Array]
    entropy: tuple[Array, Array] | None = None
    length: tuple[Array, Array] | None = None


@dataclass(frozen=True)
class Alarm:
    """When it went off, and one sentence why."""

    step: float
    reason: str


def alarm(watched: Watched, entropy: float = ENTROPY) -> str | None:
    """Why the run that measured `watched` collapses now, in a sentence; None where it does not."""
    values = watched.accuracy[1]
    best, now, error = _down(values) if len(values) else (np.nan, np.nan, 0.0)
    fallen = best - now
    if len(values) >= _FEWEST and fallen > max((1 + _FEWEST / len(values)) * _DOWN_NOISE * error, _DOWN_SHARE * best):
        return f"accuracy has come down from {best:.3f} to {now:.3f}"
    if len(values) and fallen <= max(_BELOW_NOISE * error, _BELOW_SHARE * best):
        return None
    below = f", and accuracy is at {now:.3f} after {best:.3f}" if len(values) else ""
    if watched.entropy is not None and (last := _latest(watched.entropy[1])) is not None and last < entropy:
        return f"token entropy has fallen to {last:.3f} nats, below {entropy:g}{below}"
    if watched.length is not None and (last := _latest(watched.length[1])) is not None:
        first = float(np.mean(watched.length[1][:_WINDOW]))
        if not _SHORTER * first <= last <= _LONGER * first:
            return f"responses went from {first:.0f} to {last:.0f} tokens{below}"
    return None


def first_alarm(watched: Watched, entropy: float = ENTROPY) -> Alarm | None:
    """The first alarm of a run, as it would have been heard while it was trained."""
    series = (watched.accuracy, watched.entropy, watched.length)
    for step in np.unique(np.concatenate([one[0] for one in series if one is not None])):
        reason = alarm(_until(watched, float(step)), entropy)
        if reason is not None:
            return Alarm(float(step), reason)
    return None


def _down(accuracy: Array) -> tuple[float, float, float]:
    """Best mean of neighbours, mean of the latest, and the standard error of their difference."""
    if len(accuracy) < _FEWEST:
        return float(accuracy.max()), float(accuracy[-1]), 0.0
    window = max(_WINDOW, len(accuracy) // _PARTS)
    latest = max(window - 1, 2)
    settled = accuracy[len(accuracy) // 3 :]  # a steep start would count as noise
    error = float(noise_of(settled)) * (1 / window + 1 / latest) ** 0.5
    return float(averaged(accuracy, window).max()), float(accuracy[-latest:].mean()), error


def _latest(values: Array) -> float | None:
    return float(np.mean(values[-_WINDOW:])) if len(values) >= _FEWEST else None


def _until(watched: Watched, step: float) -> Watched:
    def cut(series: tuple[Array, Array] | None) -> tuple[Array, Array] | None:
        return None if series is None else (series[0][series[0] <= step], series[1][series[0] <= step])

    accuracy = cut(watched.accuracy)
    assert accuracy is not None
    return Watched(accuracy, cut(watched.entropy), cut(watched.length))
