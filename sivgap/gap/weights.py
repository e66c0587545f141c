"""Weights of responses from their scores: what is kept, w of MG Def. 2.1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sivgap.errors import ConfigError
from sivgap.gap.estimate import Array


@dataclass(frozen=True)
class Threshold:
    """w = 1[score >= tau], one tau for all prompts. May keep nothing of a prompt."""

    tau: float


@dataclass(frozen=True)
class Quantile:
    """The best-scored share q of each prompt's responses, 0 < q <= 1: always a weight of exactly q N.

    Responses tied at the boundary share what is left of it equally, so the weights do not depend on the order of the
    responses; where nothing is tied, one response at most has a weight between 0 and 1.
    """

    q: float

    def __post_init__(self) -> None:
        if not 0 < self.q <= 1:
            raise ConfigError(f"The share of responses to keep is {self.q}; choose one above 0 and at most 1.")


@dataclass(frozen=True)
class Exponential:
    """w = exp(score / beta), beta > 0, up to a factor a prompt that cancels: the best-scored response has weight 1.

    beta to infinity keeps all alike; beta to 0 keeps the best-scored, tied ones alike (best-of-N).
    """

    beta: float

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ConfigError(f"The temperature of the weights exp(score/beta) is {self.beta}; it must be above 0.")


Weight = Threshold | Quantile | Exponential


def weigh(scores: Array, weight: Weight, unparsed: Array | None = None) -> Array:
    """Weights in [0, 1] of responses scored `scores`, both (P, N).

    A response none of whose verdicts could be read has no score, only a neutral number in its place, and never passes
    by that: its weight is 0. Weights that ignore the scores (tau 0, a quantile of 1) keep it like any other.

    Args:
        scores: (P, N).
        weight: What is kept.
        unparsed: Share of the verdicts behind each score that could not be read, (P, N).
    """
    without = np.zeros(scores.shape, dtype=bool) if unparsed is None or _keeps_all(weight) else unparsed >= 1
    known = np.where(without, -np.inf, scores)
    match weight:
        case Threshold(tau):
            return (known >= tau).astype(np.float64)
        case Quantile(q):
            size = scores.shape[1]
            at_or_above = (known[:, None, :] >= known[:, :, None]).sum(axis=2)
            above = (known[:, None, :] > known[:, :, None]).sum(axis=2)
            kept: Array = np.clip((q * size - above) / (at_or_above - above), 0, 1)
            return np.where(without, 0.0, kept)
        case Exponential(beta):
            best = np.where(without.all(axis=1), 0.0, known.max(axis=1))
            return np.exp((known - best[:, None]) / beta)  # type: ignore[no-any-return]


def _keeps_all(weight: Weight) -> bool:
    return weight in (Threshold(0), Quantile(1))
