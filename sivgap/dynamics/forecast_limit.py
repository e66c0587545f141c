"""Where the forecast ends, for the population of prompts: by resampling them (THEORY section 7)."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.forecast import ends_of
from sivgap.dynamics.interval import LEVEL, percentile_interval

_DRAWS = 200
"""Of resampled prompts; each is a whole forecast."""


def limit_over_prompts(epoch: Array, curves: Array, panel: Array, seed: int) -> Array:
    """Ends of solver, verifier and gap: value, low, high, (3, 3).

    To the spread of the ends over resampled prompts comes that of a forecast from given curves, drawn as normal.

    Args:
        epoch: (T,). curves: Of resampled prompts, (B, 2, T); the first 200 are taken.
        panel: The ends from all prompts, with this panel's interval, (3, 3).
    """
    ends = ends_of(epoch, curves[:_DRAWS])  # (B, 3)
    half = (panel[:, 2] - panel[:, 1]) / 2
    noise = np.random.default_rng(seed).standard_normal(ends.shape) * half / ndtri((1 + LEVEL) / 2)
    around = [percentile_interval(ends[:, i] + noise[:, i]) for i in range(3)]
    low, high = (np.array(side) for side in zip(*around, strict=True))
    low[:2] = np.maximum(low[:2], 0.0)
    return np.stack([panel[:, 0], np.minimum(low, panel[:, 1]), np.maximum(high, panel[:, 2])], axis=1)
