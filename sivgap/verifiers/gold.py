"""Verifier ``gold``: ground truth, the perfect verifier that others are held against (MG Appendix D)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sivgap.grading.equal import AnswerComparer
from sivgap.grading.grade import grade
from sivgap.verifiers.question import Responses, Scores


@dataclass(frozen=True)
class Gold:
    """Scores 1 what the grader of `dataset` finds right, and 0 the rest."""

    dataset: str
    comparer: AnswerComparer

    def score(self, responses: Responses, stream: int) -> Scores:
        samples = responses.shape[1]
        references = [problem.reference for problem in responses.problems for _ in range(samples)]
        grades = grade(self.dataset, list(responses.texts), references, self.comparer)
        values = np.array([found.correct for found in grades], dtype=np.float64).reshape(responses.shape)
        return Scores(values, np.zeros(responses.shape))
