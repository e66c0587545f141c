"""Verifier ``majority``: the share of a prompt's responses that give the same answer (self-consistency; as a reward
without labels TTRL, 2504.16084).

It sees agreement, not truth: as a model grows sure of wrong answers it goes on rising.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from sivgap.core.rollout import OnBatch
from sivgap.core.verification import Responses, Scores
from sivgap.tasks.grade import grade_samples
from sivgap.verifiers.context import VerifierContext


class Majority:
    """Answers are equal by the grader's own equality; a response without an answer has no vote, and scores 0."""

    def __init__(self, context: VerifierContext) -> None:
        self._dataset, self._comparer = context.dataset, context.comparer

    def score(self, responses: Responses, stream: int, on_batch: OnBatch | None = None) -> Scores:
        problems, samples = responses.shape
        grades = grade_samples(self._dataset, responses.problems, responses.texts, self._comparer)
        values = np.zeros((problems, samples))
        for p in range(problems):
            keys = [grade.key for grade in grades[p * samples : (p + 1) * samples]]
            votes = Counter(key for key in keys if key is not None)
            values[p] = [0.0 if key is None else votes[key] / samples for key in keys]
        return Scores(values, np.zeros_like(values))
