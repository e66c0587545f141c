"""Verifier ``random``: a score of pure noise, the control that a gain has to beat (spurious rewards, 2506.10947)."""

from __future__ import annotations

import numpy as np

from sivgap.core.rollout import OnBatch
from sivgap.core.verification import Responses, Scores
from sivgap.runtime.rng import derive_key, row_keys, uniforms
from sivgap.verifiers.context import VerifierContext


class Random:
    """Uniform in [0, 1], of each response and stream its own."""

    def __init__(self, context: VerifierContext) -> None:
        pass

    def score(self, responses: Responses, stream: int, on_batch: OnBatch | None = None) -> Scores:
        values = response_noise(responses, derive_key("random verdict", stream))
        return Scores(values, np.zeros_like(values))


def response_noise(responses: Responses, stream: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """A uniform number of each response, (P, N); it belongs to the problem's id, the response's number and `stream`."""
    problems = np.array([derive_key(problem.id) for problem in responses.problems], dtype=np.uint64)
    return uniforms(row_keys(stream, problems, responses.shape[1]), 1)[..., 0]
