"""A verifier of the user's own: ``verifier=my_module:Name``. What it returns is checked before anything rests on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sivgap.core.rollout import OnBatch
from sivgap.core.verification import Responses, Scores, Verifier
from sivgap.errors import RunError
from sivgap.registry import own_code


@dataclass(frozen=True)
class Checked:
    """`verifier`, called `name` in messages; it may return an array of scores alone, (P, N)."""

    verifier: Verifier
    name: str

    def score(self, responses: Responses, stream: int, on_batch: OnBatch | None = None) -> Scores:
        """As `Verifier.score`.

        Raises:
            RunError: If the verifier fails, or its scores have another shape or leave [0, 1].
        """
        with own_code(f"verifier={self.name}"):
            found = self.verifier.score(responses, stream, on_batch)
            if not isinstance(found, Scores):
                found = Scores(np.asarray(found, dtype=np.float64), np.zeros(responses.shape))
        values = found.values
        if values.shape != responses.shape or found.unparsed.shape != responses.shape:
            raise RunError(
                f"verifier={self.name}: expected scores of the shape {responses.shape} (problems, responses), got "
                f"{values.shape}"
            )
        if not (np.isfinite(values).all() and (values >= 0).all() and (values <= 1).all()):
            low, high = np.nanmin(values, initial=np.inf), np.nanmax(values, initial=-np.inf)
            raise RunError(f"verifier={self.name}: expected scores in [0, 1], got numbers from {low:g} to {high:g}")
        return found
