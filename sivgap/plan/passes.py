"""How many passes of the model responses take, by acting out how an engine gives places of those that ended away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BATCHES = 32
"""Batches whose passes stand for those of more."""


@dataclass(frozen=True)
class Passes:
    """Passes of the model.

    Attributes:
        steps: In each of which every response under way draws a token.
        turns: In each of which prompts are read, and questions put to responses that ended; 0 where steps do that.
    """

    steps: float
    turns: float


def a_batch(lengths: Sequence[int], responses: int, samples: int, places: int, turn: float | None) -> Passes:
    """Passes for `places` responses, on the mean of `responses` whose lengths are `lengths`, repeated.

    Args:
        samples: Responses to a prompt, which begin together.
        turn: As `engines.hf.TURN`; None for an engine that gives every place away at once, and reads prompts in the
            steps of others.
    """
    count = min(responses, _BATCHES * places)
    alike, batches = np.resize(np.asarray(lengths), count), count / places
    if turn is None:
        return Passes(taken(alike, 1, places, 0).steps / batches, 0)
    done = taken(alike, samples, places, turn)
    return Passes(done.steps / batches, done.turns / batches)


def taken(lengths: NDArray[np.int64], samples: int, places: int, turn: float) -> Passes:
    """Passes until all of `lengths` are written, in that order: the loop of `HFEngine.rollout` without a model."""
    room = max(1, places // samples) * samples
    left, begun, steps, turns = lengths[:0], 0, 0, 0
    while len(left) or begun < len(lengths):
        free = (room - len(left)) // samples * samples
        left, begun = np.concatenate([left, lengths[begun : begun + free]]), begun + free
        ended = np.bincount(left)[1:].cumsum()
        enough = (ended.cumsum() >= turn * room) & (ended >= samples) & (begun < len(lengths))
        now = int(enough.argmax()) + 1 if enough.any() else len(ended)
        left = left[left > now] - now
        steps, turns = steps + now, turns + 1
    return Passes(steps, turns)
