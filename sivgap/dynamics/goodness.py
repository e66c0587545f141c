"""How well a law describes curves: R^2 and Akaike's criterion."""

from __future__ import annotations

import numpy as np

from sivgap.dynamics.closed_form import Array


def aicc(sse: float, points: int, parameters: int) -> float | None:
    """Akaike's criterion for small samples with the noise level counted as a parameter; None if it does not exist."""
    k = parameters + 1
    if points <= k + 1 or sse <= 0:
        return None
    return float(points * np.log(sse / points) + 2 * k + 2 * k * (k + 1) / (points - k - 1))


def r_squared(seen: Array, fitted: Array) -> float:
    """1 - residual sum of squares / total sum of squares."""
    return float(1 - np.sum((seen - fitted) ** 2) / np.sum((seen - seen.mean()) ** 2))
