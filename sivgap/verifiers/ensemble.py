"""Verifier ``ensemble``: several verifiers together (MG Section 6, Table 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sivgap.engines.rollout import OnBatch
from sivgap.verifiers.question import Responses, Scores, Verifier, told_by


@dataclass(frozen=True)
class Ensemble:
    """`members`, each with the score from which on it accepts a response.

    The score is 1 where all accept and 0 elsewhere (logical AND, the paper's); with `average` it is the mean of the
    members' scores, and the thresholds are not read.
    """

    members: Mapping[str, tuple[Verifier, float]]
    average: bool = False

    def score(self, responses: Responses, stream: int, on_batch: OnBatch | None = None) -> Scores:
        told = told_by(on_batch, 1 / len(self.members))
        scores = {name: member.score(responses, stream, told) for name, (member, _) in self.members.items()}
        values = np.stack([found.values for found in scores.values()])
        if not self.average:
            accepts = [found.values >= self.members[name][1] for name, found in scores.items()]
            values = np.stack(accepts).astype(np.float64).min(axis=0, keepdims=True)
        unparsed = np.stack([found.unparsed for found in scores.values()])
        return Scores(values.mean(axis=0), unparsed.mean(axis=0))
