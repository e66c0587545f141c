"""Verifier ``format``: whether a response says an answer in the form that its prompt asks for, right or wrong.

The other control beside ``random``: what a format reward teaches is the form.
"""

from __future__ import annotations

import numpy as np

from sivgap.core.rollout import OnBatch
from sivgap.core.verification import Responses, Scores
from sivgap.grading.forms import in_form
from sivgap.verifiers.context import VerifierContext


class Format:
    """Scores 1 what is in any of the forms asked for, and 0 the rest."""

    def __init__(self, context: VerifierContext) -> None:
        self._forms = context.forms

    def score(self, responses: Responses, stream: int, on_batch: OnBatch | None = None) -> Scores:
        kept = [any(in_form(text, form) for form in self._forms) for text in responses.texts]
        values = np.array(kept, dtype=np.float64).reshape(responses.shape)
        return Scores(values, np.zeros_like(values))
