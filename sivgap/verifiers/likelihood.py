"""Verifier ``likelihood``: the model's own certainty, exp(-U/|y|), the geometric mean probability of a token.

As a reward it sharpens the model towards what it finds likely already (2412.01951). Its values lie close together, so
that ``selection.quantile`` tells them apart where no threshold does.
"""

from __future__ import annotations

import numpy as np

from sivgap.core.rollout import OnBatch
from sivgap.core.verification import Responses, Scores
from sivgap.errors import RunError
from sivgap.verifiers.context import VerifierContext


class Likelihood:
    """Needs no question: sampling knows the likelihoods."""

    def __init__(self, context: VerifierContext) -> None:
        pass

    def score(self, responses: Responses, stream: int, on_batch: OnBatch | None = None) -> Scores:
        """Scores in (0, 1].

        Raises:
            RunError: Of responses whose likelihoods are not known.
        """
        if responses.nll is None or responses.length is None:
            raise RunError("verifier=likelihood: these responses came without likelihoods")
        values = np.exp(-responses.nll / responses.length)
        return Scores(values, np.zeros_like(values))
