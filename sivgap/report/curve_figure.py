"""``figures/curve.png``: each curve, its forecast with the interval, and what came later where that is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from sivgap.dynamics.curve_analysis import CurveAnalysis
from sivgap.report.colours import GAP, NEUTRAL, SOLVER, VERIFIER
from sivgap.report.figures import plain, save

_MOST = 12
"""Runs in one picture; the page has all."""

_ACROSS = 3


def draw_curves(found: Sequence[CurveAnalysis], path: Path) -> None:
    """Draw the first twelve of `found`, one panel each, as PNG and PDF."""
    shown = found[:_MOST]
    across = min(len(shown), _ACROSS)
    down = -(-len(shown) // across)
    size = (7.5, 4.3) if len(shown) == 1 else (4.5 * across, 3.3 * down)
    figure, axes = plt.subplots(down, across, figsize=size, layout="constrained", squeeze=False)
    for axis, one in zip(axes.flat, shown, strict=False):
        _panel(axis, one)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    rest = f" (the first {_MOST} of {len(found)} runs)" if len(found) > _MOST else ""
    figure.suptitle(plain(f"{found[0].curve.label}, forecast with 90 % interval{rest}"), fontsize=11)
    axes.flat[0].legend(frameon=False, fontsize=8)
    save(figure, path)


def _panel(axis: Axes, found: CurveAnalysis) -> None:
    curve, known, said = found.curve, found.known, found.forecast
    later = known.step > curve.step[-1]
    small = 3.5 if len(known.step) < 80 else 1.8
    axis.plot(curve.step, curve.value, "o", color=SOLVER, markersize=small, label="seen")
    if later.any():
        axis.plot(
            known.step[later], known.value[later], "o", color=SOLVER, markersize=small, mfc="white", label="not used"
        )
    if len(said.step):
        axis.plot(said.step, said.value[0], color=VERIFIER, linewidth=1.2, label="forecast")
        axis.fill_between(said.step, said.low[0], said.high[0], color=VERIFIER, alpha=0.18, linewidth=0)
    if found.entropy_law is not None and found.entropy_law.holds:
        axis.axhline(found.entropy_law.ceiling, color=GAP, linewidth=0.9, linestyle="--", label="entropy law's ceiling")
    if found.alarm is not None:
        axis.axvline(found.alarm.step, color="#CC0000", linewidth=0.9, label="collapse")
    axis.axvline(float(curve.step[-1]), color=NEUTRAL, linewidth=0.8, linestyle=":")
    kind = "" if found.kind.known else "\nnot a kind that the forecast knows"
    axis.set_title(plain(curve.name) + kind, fontsize=9)
    axis.set_xlabel("step")
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
