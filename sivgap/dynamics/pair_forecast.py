"""The adaptive forecast of solver, verifier and their gap."""

from __future__ import annotations

import numpy as np

from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.curve_forecast import forecast_curves
from sivgap.dynamics.forecast import Forecast


def adaptive_pair(epoch: Array, curves: Array, at: Array) -> Forecast:
    """Forecast solver and verifier `curves` (B, 2, T), seen at `epoch` (T,), at the later epochs `at` (M,).

    Each is forecast on its own. The gap's value is their difference; its interval is that of the gap's own forecast,
    moved there and wider by how far it was moved.
    """
    solver, verifier, gap = (
        forecast_curves(epoch, one, at, "adaptive") for one in (curves[:, 0], curves[:, 1], curves[:, 0] - curves[:, 1])
    )
    value = solver.value - verifier.value
    moved = np.abs(value - gap.value)
    end = solver.limit[:, 0] - verifier.limit[:, 0]
    far = np.abs(end - gap.limit[:, 0])
    limit = np.stack(
        [end, end - (gap.limit[:, 0] - gap.limit[:, 1]) - far, end + (gap.limit[:, 2] - gap.limit[:, 0]) + far], axis=-1
    )
    return Forecast(
        at,
        np.stack([solver.value, verifier.value, value], axis=1),
        np.stack([solver.low, verifier.low, value - (gap.value - gap.low) - moved], axis=1),
        np.stack([solver.high, verifier.high, value + (gap.high - gap.value) + moved], axis=1),
        np.stack([solver.limit, verifier.limit, limit], axis=1),
    )
