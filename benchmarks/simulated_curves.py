"""Simulated training curves of the kinds that real runs show, in [0, 1] as accuracies are."""

import numpy as np

KINDS = (
    "exponential", "power law", "straight line", "S-shape", "late start", "noise", "collapse", "random walk",
    "plateau with a jump", "steps",
)  # fmt: skip
POINTS = (14, 26, 51, 120)
NOISES = (0.01, 0.03, 0.08, 0.2)
"""Of the curve's height."""


def simulated(kind: str, count: int, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """`count` curves: steps from 0 to 200 and values, of varied length and noise."""
    found = []
    for _ in range(count):
        t = np.linspace(0, 1, int(rng.choice(POINTS)))
        height = rng.uniform(0.1, 0.35)
        share = rng.uniform(0.3, 1) if kind == "noise" else rng.choice(NOISES) * (0.1 if kind == "steps" else 1)
        exact = rng.uniform(0.05, 0.6) + height * shape(kind, t, rng)
        found.append((200 * t, np.clip(exact + share * height * rng.standard_normal(len(t)), 0, 1)))
    return found


def shape(kind: str, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A curve of about unit height."""
    uniform = rng.uniform
    if kind == "power law":
        return 1 - (1 + t / uniform(0.03, 0.5)) ** -uniform(0.4, 2)
    if kind == "straight line":
        return t * uniform(0.5, 1)
    if kind == "S-shape":
        return 1 / (1 + np.exp(-(t - uniform(0.2, 0.7)) / uniform(0.04, 0.12)))
    if kind == "late start":
        return -np.expm1(-uniform(3, 10) * np.maximum(t - uniform(0.1, 0.5), 0))
    if kind == "noise":
        return 0.1 * t
    if kind == "random walk":
        return np.cumsum(rng.standard_normal(len(t))) / len(t) ** 0.5
    if kind == "steps":
        return sum(uniform(-1, 1) * (t > uniform(0, 1)) for _ in range(rng.integers(1, 4)))
    risen = -np.expm1(-uniform(2, 8) * t)
    if kind == "collapse":
        left = 1 / (1 + np.exp((t - uniform(0.3, 0.8)) / uniform(0.03, 0.15)))
        return risen - uniform(0.6, 1.2) * (1 - left)
    return risen + 0.3 * (t > uniform(0.3, 0.8)) if kind == "plateau with a jump" else risen
