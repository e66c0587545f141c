"""Not my kind of curve: what a reader is told before a number, and by how much the interval is widened for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.curve_forecast import CurveForecast
from sivgap.dynamics.families import blocks
from sivgap.dynamics.members import MEMBERS
from sivgap.dynamics.orientation import orient
from sivgap.dynamics.shape import jumps, noise_of, turns

WIDENING = 1.5
"""Factor of an interval where a curve is of no kind that the forecast knows."""

_BETTER = 0.7
"""Root mean squared error of a level, in units of the families', from which on it is plainly better."""

_PATTERN = 0.6
"""Correlation of neighbouring residuals that is no noise."""

_PATTERN_SIZE = 0.04
"""Standard deviation of residuals, in ranges seen, below which a pattern in them does not matter."""

_FEWEST = 12
"""Points from which on residuals have a pattern."""


@dataclass(frozen=True)
class Kind:
    """Whether the forecast knows a curve.

    Attributes:
        reasons: What speaks against it; none where it does.
    """

    reasons: tuple[str, ...]

    @property
    def known(self) -> bool:
        return not self.reasons

    @property
    def widening(self) -> float:
        return 1.0 if self.known else WIDENING

    @property
    def sentence(self) -> str:
        """For the reader; empty where the forecast knows the curve."""
        if self.known:
            return ""
        return (
            f"Not a kind of curve that the forecast knows: {'; '.join(self.reasons)}. Its interval is widened by "
            f"{(self.widening - 1):.0%}; do not rely on the value."
        )


def kind_of(step: Array, values: Array, found: CurveForecast) -> Kind:
    """Judge one curve, `values` (T,) at `step` (T,), of which `found` is the adaptive forecast (it tried a level)."""
    when, seen = blocks(step - step[0], values[None])
    reasons = []
    if bool(jumps(seen)[0]):
        reasons.append("it stands still and jumps")
    turn = turns(seen)
    if bool(turn.turned[0]):
        way = "fell after a rise" if turn.peak[0] else "rose after a fall"
        reasons.append(f"it {way}, by {turn.size[0]:.3g}")
    errors = dict(zip(found.members, found.errors[0], strict=True))
    if errors["level"] < _BETTER * min(errors["families"], errors["s_shape"]):
        reasons.append("from earlier points of it, a constant forecast it better than any law")
    elif not reasons and _patterned(when, seen):
        reasons.append("what the laws leave over is a pattern, not noise")
    return Kind(tuple(reasons))


def _patterned(when: Array, seen: Array) -> bool:
    """Whether residuals of the families have neighbours alike, and are large."""
    if len(when) < _FEWEST:
        return False
    span = float(np.ptp(seen))
    curves, u = orient(seen).turned(seen) / span, when / when[-1]
    left = min((curves[0] - MEMBERS[name](u, curves, u).mean[0] for name in ("families", "s_shape")), key=np.std)
    alike = float(np.corrcoef(left[:-1], left[1:])[0, 1]) if np.std(left) > 0 else 0.0
    return alike > _PATTERN and float(np.std(left)) > max(_PATTERN_SIZE, 1.5 * float(noise_of(curves)[0]))
