"""Verifier ``ensemble``: several verifiers together (MG Section 6, Table 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sivgap.core.rollout import OnBatch
from sivgap.core.verification import Responses, Scores, Verifier, scaled_progress
from sivgap.gap.selection import Selection


@dataclass(frozen=True)
class Ensemble:
    """`members`, each with the score from which on it accepts a response.

    The score is 1 where all accept and 0 elsewhere (logical AND, the paper's); with `average` it is the mean of the
    members' scores, and the thresholds are not read.
    """

    members: Mapping[str, tuple[Verifier, float]]
    average: bool = False

    def score(self, responses: Responses, stream: int, on_batch: OnBatch | None = None) -> Scores:
        told = scaled_progress(on_batch, 1 / len(self.members))
        scores = {name: member.score(responses, stream, told) for name, (member, _) in self.members.items()}
        values = np.stack([found.values for found in scores.values()])
        if not self.average:
            rules = {name: Selection(threshold) for name, (_, threshold) in self.members.items()}
            accepts = [rules[name].passes(found.values, found.unparsed) for name, found in scores.items()]
            values = np.stack(accepts).astype(np.float64).min(axis=0, keepdims=True)
        unparsed = np.stack([found.unparsed for found in scores.values()])
        return Scores(values.mean(axis=0), unparsed.mean(axis=0))
