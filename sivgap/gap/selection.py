"""Which responses pass the verifier, and which of them is chosen (SV Eq. 5; MG Section 3; THEORY section 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from sivgap.gap.weights import Quantile, Threshold, Weight, weigh

if TYPE_CHECKING:
    from sivgap.config.schema import SelectionConfig


Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Lengths = NDArray[np.int64] | NDArray[np.float64]
Finished = Literal["first", "any"]

_ROUNDING = 1e-9
"""Weights below this are 0: 0.7 x 10 is 7.000000000000001."""


@dataclass(frozen=True)
class Selection:
    """Which responses of a prompt pass: those scored from `threshold` on, or with a `quantile` that share of them.

    A quantile is relative: it keeps the best-scored of each prompt whatever scores mean, and `threshold` is not read.
    Weights are those of MG's filters (`sivgap.gap.weights`). A response passes if its weight is above 0: where scores
    tie at a quantile's boundary all of them pass, since no part of a response can be trained on. Under a quantile a
    prompt has no passing response only where none of its verdicts could be read.

    A response that was cut off at the most tokens allowed has no likelihood: U of what there is of it is a lower bound,
    and a low U/|y| is often that of a loop. With `finished` = ``first`` (beyond SV) it is chosen only for a prompt none
    of whose responses ended by itself; with ``any`` it competes like the others, as in SV.
    """

    threshold: float = 0.5
    quantile: float | None = None
    finished: Finished = "first"

    @classmethod
    def of(cls, config: SelectionConfig) -> Selection:
        """As configured."""
        return cls(config.threshold, config.quantile, config.finished)

    @classmethod
    def of_record(cls, settings: Mapping[str, Any]) -> Selection:
        """Of a run's ``config.yaml``; one that is older than `quantile` or `finished` chose without them."""
        found = settings.get("selection", {})
        quantile = found.get("quantile")
        threshold = float(found.get("threshold", 0.5))
        return cls(threshold, None if quantile is None else float(quantile), found.get("finished", "any"))

    @property
    def without_scores(self) -> Selection:
        """The same choice by likelihood alone."""
        return Selection(threshold=0, finished=self.finished)

    @property
    def weight(self) -> Weight:
        return Threshold(self.threshold) if self.quantile is None else Quantile(self.quantile)

    @property
    def name(self) -> str:
        return f"tau {self.threshold:g}" if self.quantile is None else f"quantile {self.quantile:g}"

    def weights(self, scores: Array, unparsed: Array | None = None) -> Array:
        """w of MG Def. 2.1, (P, N); `unparsed` (P, N) is the share of each score's verdicts that could not be read."""
        return weigh(scores, self.weight, unparsed)

    def passes(self, scores: Array, unparsed: Array | None = None) -> Mask:
        """Which responses the verifier lets pass, (P, N)."""
        return np.asarray(self.weights(scores, unparsed) > _ROUNDING)

    def eligible(self, finished: Array | Mask) -> Mask:
        """Which responses may be chosen whatever their scores, (P, N), from which of them ended by themselves."""
        ended = np.asarray(finished, dtype=bool)
        if self.finished == "any":
            return np.ones_like(ended)
        return ended | ~ended.any(axis=1, keepdims=True)

    def choose(
        self, scores: Array, nll: Array, length: Lengths, finished: Array | Mask, unparsed: Array | None = None
    ) -> Choice:
        """SV Eq. 5: of the responses that pass (of all eligible ones where none does) the one of the lowest U/|y|.

        A quantile counts as many responses as without cut ones, but takes them from the eligible.

        Args:
            scores: (P, N).
            nll: U(y|x) in nats, (P, N).
            length: Response tokens, (P, N).
            finished: Whether a response ended by itself, (P, N).
            unparsed: Share of each score's verdicts that could not be read, (P, N).
        """
        eligible = self.eligible(finished)
        unread = np.zeros(scores.shape) if unparsed is None else unparsed
        passes = eligible & self.passes(scores, np.where(eligible, unread, 1.0))
        passed = np.asarray(passes.any(axis=1))
        among = np.where(passed[:, None], passes, eligible)
        return Choice(np.where(among, nll / length, np.inf).argmin(axis=1), passed, passes)


@dataclass(frozen=True)
class Choice:
    """`chosen` (P,): index of the chosen response; `passed` (P,): whether any response passed; `passes` (P, N): which
    of them may be trained on."""

    chosen: NDArray[np.int64]
    passed: Mask
    passes: Mask
