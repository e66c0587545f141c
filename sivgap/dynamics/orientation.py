"""Any curve as one that falls and stays positive, which is what the families of `families` are made for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sivgap.dynamics.closed_form import Array

_ROOM = 3.0
"""How far a curve without a known bound may go on, in units of the range seen."""

_BEGINNING = 3
"""The mean of this part of the points, the first and the last, says whether a curve rises."""


@dataclass(frozen=True)
class Orientation:
    """How B curves were turned: z = sign y + offset.

    Attributes:
        sign, offset: (B, 1). rising: (B,). lowest, highest: What the curves cannot leave, (B, 1); infinite where
            there is no bound.
    """

    sign: Array
    offset: Array
    rising: NDArray[np.bool_]
    lowest: Array
    highest: Array

    def turned(self, values: Array) -> Array:
        """`values` (B, T) as falling curves."""
        return self.sign * values + self.offset

    def back(self, turned: Array) -> Array:
        """The inverse of `turned`, kept within the bounds."""
        return np.clip(self.sign * (turned - self.offset), self.lowest, self.highest)


def orient(values: Array) -> Orientation:
    """The orientation of `values` (B, T).

    A curve within [0, 1] is taken as a share and stays there. One that is never negative stays at 0 or above. A curve
    that rises without a known bound, or falls below 0, may go on for three times the range seen.
    """
    part = max(values.shape[1] // _BEGINNING, 1)
    low, high = values.min(axis=1), values.max(axis=1)
    rising = values[:, -part:].mean(axis=1) > values[:, :part].mean(axis=1)
    share = (low >= 0) & (high <= 1)
    room = _ROOM * (high - low)
    ceiling = np.where(share, 1.0, high + room)
    floor = np.where(low >= 0, 0.0, low - room)
    return Orientation(
        np.where(rising, -1.0, 1.0)[:, None],
        np.where(rising, ceiling, -floor)[:, None],
        rising,
        np.where(low >= 0, 0.0, -np.inf)[:, None],
        np.where(share, 1.0, np.inf)[:, None],
    )
