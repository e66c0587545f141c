"""Verifier ``gold``: ground truth, the perfect verifier that others are held against (MG Appendix D).

With ``verifier.tpr`` and ``verifier.fpr`` it errs as often as it is told to: it accepts a right response with the first
probability and a wrong one with the second. Youden's J = tpr - fpr then decides whether a model learns (J > 0), drifts,
or is taught the wrong (2601.04411).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from sivgap.core.rollout import OnBatch
from sivgap.core.verification import Responses, Scores
from sivgap.grading.equal import AnswerComparer
from sivgap.runtime.rng import derive_key
from sivgap.tasks.grade import grade_samples
from sivgap.verifiers.random import response_noise


class Gold:
    """Scores 1 what the grader of `dataset` finds right, and 0 the rest, unless it errs.

    Args:
        tpr, fpr: Probability of accepting a right response, and a wrong one.
        errors: Of each ``response`` anew, or of a ``problem``, whose right responses are then all judged alike, and
            its wrong ones, whenever they are drawn.
        seed: Of the errors.
    """

    def __init__(
        self,
        dataset: str,
        comparer: AnswerComparer,
        tpr: float = 1.0,
        fpr: float = 0.0,
        errors: Literal["response", "problem"] = "response",
        seed: int = 0,
    ) -> None:
        self._dataset, self._comparer = dataset, comparer
        self._tpr, self._fpr, self._errors, self._seed = tpr, fpr, errors, seed

    def score(self, responses: Responses, stream: int, on_batch: OnBatch | None = None) -> Scores:
        grades = grade_samples(self._dataset, responses.problems, responses.texts, self._comparer)
        right = np.array([found.correct for found in grades], dtype=bool).reshape(responses.shape)
        if self._errors == "problem":
            drawn = response_noise(responses, derive_key("gold", self._seed))[:, :1]
        else:
            drawn = response_noise(responses, derive_key("gold", self._seed, stream))
        accepted = drawn < np.where(right, self._tpr, self._fpr)
        return Scores(accepted.astype(np.float64), np.zeros(responses.shape))
