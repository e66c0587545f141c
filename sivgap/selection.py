"""Best-of-N: which response the verifier chooses (SV Eq. 5; THEORY section 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Choice:
    """`chosen` (P,): index of the chosen response; `passed` (P,): whether any response reached the threshold."""

    chosen: NDArray[np.int64]
    passed: NDArray[np.bool_]


def best_of_n(
    scores: NDArray[np.float64], nll: NDArray[np.float64], length: NDArray[np.int64], threshold: float
) -> Choice:
    """Drop responses scored below `threshold` (keep all where none passes); of the rest, the lowest U/|y|.

    Args:
        scores: Verifier's scores in [0, 1], (P, N).
        nll: U(y|x) in nats, (P, N).
        length: Response tokens, (P, N).
        threshold: tau in [0, 1]; 0 ignores the scores.
    """
    kept = np.asarray(scores >= threshold)
    passed = np.asarray(kept.any(axis=1))
    kept |= ~passed[:, None]
    per_token = np.where(kept, nll / length, np.inf)
    return Choice(per_token.argmin(axis=1), passed)
