"""The confidence of every interval in sivgap, and the interval of a set of draws."""

from __future__ import annotations

import numpy as np

from sivgap.dynamics.closed_form import Array

LEVEL = 0.9
"""Confidence of every interval."""


def percentile_interval(draws: Array) -> tuple[float, float]:
    """Both ends of the middle `LEVEL` of `draws`; those that are not finite are left out."""
    ends = 50 * (1 - LEVEL)
    low, high = np.percentile(draws[np.isfinite(draws)], [ends, 100 - ends])
    return float(low), float(high)
