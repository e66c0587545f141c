"""Which responses pass the verifier, and which of them is chosen (SV Eq. 5; MG Section 3; THEORY section 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sivgap.gap.weights import Quantile, Threshold, Weight, weigh

if TYPE_CHECKING:
    from sivgap.config.schema import SelectionConfig


Lengths = NDArray[np.int64] | NDArray[np.float64]

_ROUNDING = 1e-9
"""Weights below this are 0: 0.7 x 10 is 7.000000000000001."""


@dataclass(frozen=True)
class Selection:
    """Which responses of a prompt pass: those scored from `threshold` on, or with a `quantile` that share of them.

    A quantile is relative: it keeps the best-scored of each prompt whatever scores mean, and `threshold` is not read.
    Weights are those of MG's filters (`sivgap.gap.weights`). A response passes if its weight is above 0: where scores
    tie at a quantile's boundary all of them pass, since no part of a response can be trained on. Under a quantile a
    prompt has no passing response only where none of its verdicts could be read.
    """

    threshold: float = 0.5
    quantile: float | None = None

    @classmethod
    def of(cls, config: SelectionConfig) -> Selection:
        """As configured."""
        return cls(config.threshold, config.quantile)

    @classmethod
    def of_record(cls, settings: Mapping[str, Any]) -> Selection:
        """Of a run's ``config.yaml``, which may be older than the quantile."""
        found = settings.get("selection", {})
        quantile = found.get("quantile")
        return cls(float(found.get("threshold", 0.5)), None if quantile is None else float(quantile))

    @property
    def weight(self) -> Weight:
        return Threshold(self.threshold) if self.quantile is None else Quantile(self.quantile)

    @property
    def name(self) -> str:
        return f"tau {self.threshold:g}" if self.quantile is None else f"quantile {self.quantile:g}"

    def weights(self, scores: NDArray[np.float64], unparsed: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """w of MG Def. 2.1, (P, N); `unparsed` (P, N) is the share of each score's verdicts that could not be read."""
        return weigh(scores, self.weight, unparsed)

    def passes(self, scores: NDArray[np.float64], unparsed: NDArray[np.float64] | None = None) -> NDArray[np.bool_]:
        """Which responses may be chosen, (P, N)."""
        return np.asarray(self.weights(scores, unparsed) > _ROUNDING)


@dataclass(frozen=True)
class Choice:
    """`chosen` (P,): index of the chosen response; `passed` (P,): whether any response passed."""

    chosen: NDArray[np.int64]
    passed: NDArray[np.bool_]


def best_of_n(passes: NDArray[np.bool_], nll: NDArray[np.float64], length: Lengths) -> Choice:
    """Drop responses that do not pass (keep all where none does); of the rest, the lowest U/|y|.

    Args:
        passes: Whether the verifier lets a response pass (`Selection.passes`), (P, N).
        nll: U(y|x) in nats, (P, N).
        length: Response tokens, (P, N).
    """
    passed = np.asarray(passes.any(axis=1))
    kept = passes | ~passed[:, None]
    per_token = np.where(kept, nll / length, np.inf)
    return Choice(per_token.argmin(axis=1), passed)


def likeliest(nll: NDArray[np.float64], length: Lengths) -> NDArray[np.int64]:
    """Each prompt's response of the lowest U/|y|, (P,): best of N without a verifier, which a verifier must beat."""
    chosen: NDArray[np.int64] = (nll / length).argmin(axis=1)
    return chosen
