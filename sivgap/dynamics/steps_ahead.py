"""The epochs or steps that a forecast is made for."""

from __future__ import annotations

import numpy as np

from sivgap.dynamics.closed_form import Array

_MOST_AHEAD = 200
"""Steps of a forecast, unless the data name more."""


def steps_ahead(last: float, spacing: float, horizon: float, known: Array) -> Array:
    """Every `spacing` from `last` to `horizon`, and every later step that the data `known` have."""
    count = min(max(round((horizon - last) / spacing), 1), _MOST_AHEAD) if horizon > last else 0
    even = last + (horizon - last) * np.arange(1, count + 1) / max(count, 1)
    return np.unique(np.round(np.concatenate([even, known[known > last]]), 9))
