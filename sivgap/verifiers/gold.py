"""Verifier ``gold``: ground truth, the perfect verifier that others are held against (MG Appendix D)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sivgap.engines.rollout import OnBatch
from sivgap.grading.equal import AnswerComparer
from sivgap.grading.grade import grade_samples
from sivgap.verifiers.question import Responses, Scores


@dataclass(frozen=True)
class Gold:
    """Scores 1 what the grader of `dataset` finds right, and 0 the rest."""

    dataset: str
    comparer: AnswerComparer

    def score(self, responses: Responses, stream: int, on_batch: OnBatch | None = None) -> Scores:
        grades = grade_samples(self.dataset, responses.problems, responses.texts, self.comparer)
        values = np.array([found.correct for found in grades], dtype=np.float64).reshape(responses.shape)
        return Scores(values, np.zeros(responses.shape))
