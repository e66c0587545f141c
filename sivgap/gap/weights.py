"""Weights of responses from their scores: what is kept, w of MG Def. 2.1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

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


def weigh(scores: Array, weight: Weight) -> Array:
    """Weights in [0, 1] of responses scored `scores`, both (P, N)."""
    match weight:
        case Threshold(tau):
            return (scores >= tau).astype(np.float64)
        case Quantile(q):
            size = scores.shape[1]
            at_or_above = size + 1 - rankdata(scores, method="min", axis=1)
            above = size - rankdata(scores, method="max", axis=1)
            kept: Array = np.clip((q * size - above) / (at_or_above - above), 0, 1)
            return kept
        case Exponential(beta):
            return np.exp((scores - scores.max(axis=1, keepdims=True)) / beta)  # type: ignore[no-any-return]
