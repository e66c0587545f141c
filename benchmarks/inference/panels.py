"""Made-up panels whose truth is known: prompts differ in difficulty, a verifier keeps, scores, or knows nothing."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import beta

SAMPLES = 8
KEEPS = (0.9, 0.3)
"""Shares of the right and of the wrong responses that the verifier keeps."""
MANY = 200_000
"""Prompts of the panel that stands for the population."""


@dataclass(frozen=True)
class Population:
    """Prompts whose chance of a right response is Beta distributed.

    Attributes:
        accuracy: Mean chance.
        icc: Intraclass correlation: how alike responses of one prompt are in being right.
    """

    accuracy: float
    icc: float

    def chances(self, prompts: int, rng: np.random.Generator) -> np.ndarray:
        """(P, 1)."""
        size = (1 - self.icc) / self.icc
        found = rng.beta(self.accuracy * size, (1 - self.accuracy) * size, (prompts, 1))
        return np.clip(found, 1e-9, 1 - 1e-9)

    def relative_gaps(self) -> tuple[float, float]:
        """Of a verifier that keeps `KEEPS`, with infinitely many responses: MG Def. 2.2, and its aggregate form."""
        size, (right, wrong) = (1 - self.icc) / self.icc, KEEPS
        p = beta.ppf((np.arange(MANY) + 0.5) / MANY, self.accuracy * size, (1 - self.accuracy) * size)
        relative = p * (right - wrong) / (p * right + (1 - p) * wrong)
        return float(relative.mean()), float((relative * (1 - p)).mean() / (1 - p).mean())

    def correct(self, prompts: int, rng: np.random.Generator) -> np.ndarray:
        """(P, N), 0 or 1."""
        return (rng.random((prompts, SAMPLES)) < self.chances(prompts, rng)).astype(float)

    def graded(self, prompts: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Chance of each response, which differs within prompts, too, and whether it is right, (P, N) each."""
        chance = expit(logit(self.chances(prompts, rng)) + rng.standard_normal((prompts, SAMPLES)))
        return chance, (rng.random(chance.shape) < chance).astype(float)


def kept(correct: np.ndarray, rng: np.random.Generator, right: float = KEEPS[0], wrong: float = KEEPS[1]) -> np.ndarray:
    """Weights of a filter that keeps `right` of the right and `wrong` of the wrong responses, (P, N)."""
    return (rng.random(correct.shape) < np.where(correct == 1, right, wrong)).astype(float)
