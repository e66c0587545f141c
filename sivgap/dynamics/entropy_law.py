"""The entropy law of reinforcement learning, R = -a exp(H) + b (arXiv 2505.22617): reward is bought with entropy.

A run without entropy left (H = 0) ends at b - a, whatever it still trains: a second opinion on the ceiling, from
other data than the forecast's. It holds where entropy falls without being held up by a bonus or by clipping.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.goodness import r_squared
from sivgap.dynamics.interval import LEVEL

EARLY = 0.4
"""Share of the points from which the ceiling is said as a test: how near would it have been then?"""

_HOLDS = 0.5
"""R^2 below which the law does not describe a run."""

FEWEST = 5
"""Points below which no line is drawn."""


@dataclass(frozen=True)
class EntropyLaw:
    """The fitted law.

    Attributes:
        a, b: Of R = -a exp(H) + b, H in nats a token.
        r2: Share of the variance of R that it explains.
        ceiling, low, high: b - a and its interval (90 %, residuals taken as independent).
        early: b - a from the first 40 % of the points; None where these are too few.
        points: How many there were.
    """

    a: float
    b: float
    r2: float
    ceiling: float
    low: float
    high: float
    early: float | None
    points: int

    @property
    def holds(self) -> bool:
        """Whether it explains at least half of what reward did, in the direction that it says."""
        return self.a > 0 and self.r2 >= _HOLDS

    @property
    def sentence(self) -> str:
        """What it says, for a reader."""
        if not self.holds:
            return f"the entropy law does not hold here (R^2 {self.r2:.2f}, a = {self.a:.3g}): no ceiling from it"
        return f"entropy law: R^2 {self.r2:.2f}, ceiling {self.ceiling:.3f} (90 %: {self.low:.3f} to {self.high:.3f})"


def fit_entropy_law(entropy: Array, reward: Array) -> EntropyLaw | None:
    """Least squares of `reward` (T,) on exp(`entropy`) (T,), in nats a token, in the order of training.

    None with fewer than `FEWEST` points, or where entropy or reward does not move.
    """
    known = np.isfinite(entropy) & np.isfinite(reward)
    h, r = entropy[known], reward[known]
    if len(h) < FEWEST or np.ptp(h) < 1e-9 or np.ptp(r) == 0:
        return None
    a, b = _line(h, r)
    x = np.exp(h)
    residual = r - (b - a * x)
    spread = ((x - x.mean()) ** 2).sum()
    freedom = len(h) - 2
    error = np.sqrt((residual**2).sum() / freedom * (1 / len(h) + (1 - x.mean()) ** 2 / spread))
    half = float(stdtrit(freedom, (1 + LEVEL) / 2) * error)
    first = round(EARLY * len(h))
    early = None
    if first >= FEWEST and np.ptp(h[:first]) > 1e-9:
        slope, start = _line(h[:first], r[:first])
        early = start - slope
    return EntropyLaw(a, b, r_squared(r, b - a * x), b - a, b - a - half, b - a + half, early, len(h))


def _line(entropy: Array, reward: Array) -> tuple[float, float]:
    """a and b."""
    x = np.exp(entropy)
    slope = float(((x - x.mean()) * (reward - reward.mean())).sum() / ((x - x.mean()) ** 2).sum())
    return -slope, float(reward.mean() - slope * x.mean())
