"""When a budget of external data is given: the paper's strategies as shares an epoch (SV Sec. 5)."""

from __future__ import annotations

import numpy as np

from sivgap.dynamics.closed_form import Array

UNIFORM_EPOCHS = 8
"""Epochs of the paper's uniform schedule, and the epoch of its late one."""


def schedules(budget: float, horizon: int, epochs: int = UNIFORM_EPOCHS) -> dict[str, Array]:
    """eta_t for t = 0 .. horizon - 1, (horizon,) each: nothing; all at first; equal shares over `epochs`; all in the
    last of these. With a shorter horizon than `epochs`, that takes its place."""
    spread = min(epochs, horizon)
    plans = {name: np.zeros(horizon) for name in ("none", "early", "uniform", "late")}
    plans["early"][0] = budget
    plans["uniform"][:spread] = budget / spread
    plans["late"][spread - 1] = budget
    return plans
