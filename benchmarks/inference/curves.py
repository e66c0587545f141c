"""Made-up panels whose mean curves obey a law: what stays, fades and is new in a prompt's error.

A prompt's U_s correlates by .8 / .7 / .65 / .55 at .5 / 1 / 2 / 4 epochs and its U_v by .7 / .6 / .5 / .3, as on one
real run (THEORY section 7); both are lognormal, as wide as they are high.
"""

import numpy as np

from sivgap.dynamics.closed_form import Coupled
from sivgap.dynamics.cross import curves
from sivgap.dynamics.population import PromptCurves

LAW = Coupled(1.85, 0.85, 0.35, 0.6, 0.5)
SPREAD, TOGETHER = 0.8, 0.6
"""Of the logarithm of a prompt's uncertainty, and the correlation of U_s and U_v."""


def epochs(points: int) -> np.ndarray:
    """Measured every half epoch."""
    return np.arange(points) * 0.5


def law_curves(t: np.ndarray, law: Coupled = LAW) -> np.ndarray:
    """Solver and verifier, (2, T)."""
    return np.stack([law.solver(t), law.verifier(t)])


def noise(t: np.ndarray, prompts: int, rng: np.random.Generator) -> np.ndarray:
    """Factors of mean 1, (P, 2, T)."""
    lag = np.abs(t[:, None] - t)
    solver = 0.5 + 0.4 * np.exp(-lag / 2) + 0.1 * (lag == 0)
    verifier = 0.75 * np.exp(-lag / 5) + 0.25 * (lag == 0)
    a, b = rng.standard_normal((2, prompts, len(t)))
    mixed = TOGETHER * a + np.sqrt(1 - TOGETHER**2) * b
    z = np.stack([a @ np.linalg.cholesky(solver).T, mixed @ np.linalg.cholesky(verifier).T], axis=1)
    return np.exp(SPREAD * z - SPREAD**2 / 2)


def panel(t: np.ndarray, prompts: int, rng: np.random.Generator, mean: np.ndarray | None = None) -> np.ndarray:
    """Solver and verifier of every prompt, (P, 2, T), around `mean` (2, T)."""
    return (law_curves(t) if mean is None else mean) * noise(t, prompts, rng)


def seeds(t: np.ndarray, prompts: int, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Runs on one panel: each shares most of a prompt's error, has some of its own, and a training noise of 1 %."""
    shared = noise(t, prompts, rng)
    own = [shared**0.9 * noise(t, prompts, rng) ** 0.3 for _ in range(count)]
    scale = np.exp((0.9**2 + 0.3**2 - 0.9 - 0.3) * SPREAD**2 / 2)
    trained = [np.exp(0.01 * rng.standard_normal((2, 1))) for _ in range(count)]
    return [law_curves(t) * one / scale * path for one, path in zip(own, trained, strict=True)]


def sweep(
    t: np.ndarray, prompts: int, gamma: float, form: str, plans: dict[str, tuple], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """A run of each plan on one panel, (P, 2, T) each: they share three quarters of a prompt's error."""
    shared = noise(t, prompts, rng)
    found = {}
    for name, arrivals in plans.items():
        mean = np.stack(curves(LAW, gamma, form, arrivals, t))
        own = shared**0.9 * noise(t, prompts, rng) ** 0.3
        found[name] = mean * own / np.exp((0.9**2 + 0.3**2 - 0.9 - 0.3) * SPREAD**2 / 2)
    return found


def of(values: np.ndarray) -> PromptCurves:
    """Curves of every prompt as sivgap reads them."""
    return PromptCurves(values[:, 0], values[:, 1])
