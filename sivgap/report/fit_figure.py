"""``figures/fit.png``: the fitted law, the forecast with its interval, and dG/dt against G, as in the paper."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from sivgap.dynamics.analysis import Analysis
from sivgap.dynamics.curves import Curves
from sivgap.report.colours import GAP, NEUTRAL, SOLVER, VERIFIER
from sivgap.report.figures import plain, save

_CURVES = (("solver", SOLVER, "solver $U_s$"), ("verifier", VERIFIER, "verifier $U_v$"), ("gap", GAP, "gap $G$"))


def draw_fit(found: Analysis, known: Curves, path: Path) -> None:
    """Draw `found`; `known` are all curves of the data, of which a forecast from their first part saw only some."""
    figure, axes = plt.subplots(1, 3, figsize=(13.5, 4.3), layout="constrained")
    _law(axes[0], found)
    _forecast(axes[1], found, known)
    _linearity(axes[2], found)
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    names = found.runs[0].name if len(found.runs) == 1 else f"{len(found.runs)} runs"
    figure.suptitle(plain(names), fontsize=11)
    save(figure, path)


def _law(axis: Axes, found: Analysis) -> None:
    t = np.linspace(0, found.mean.epoch[-1], 200)
    for name, colour, label in _CURVES:
        for run in found.runs:
            axis.plot(
                run.epoch, getattr(run, name), "o", color=colour, markersize=3.5, alpha=0.9 / len(found.runs) ** 0.5
            )
        for law in dict.fromkeys(found.fit.laws):
            axis.plot(t, getattr(law, name)(t), color=colour, linewidth=1)
        axis.plot([], [], "o-", color=colour, label=f"{label}, $R^2$ {found.fit.r2[name]:.3f}")
    rate = found.fit.parameters["rate"]
    interval = "" if rate.low is None or rate.high is None else f" ({rate.low:.3g} to {rate.high:.3g})"
    of = f"\n90 %, {found.of}" if interval else ""
    axis.set_title(f"coupled law, rate {rate.value:.3g}{interval} an epoch{of}", fontsize=9)
    axis.set_xlabel("epoch")
    axis.set_ylabel("uncertainty (nats)")
    axis.legend(frameon=False, fontsize=8)


def _forecast(axis: Axes, found: Analysis, known: Curves) -> None:
    said, seen = found.forecast, found.mean
    for i, (name, colour, _) in enumerate(_CURVES):
        later = known.epoch > seen.epoch[-1]
        axis.plot(seen.epoch, getattr(seen, name), "o", color=colour, markersize=3.5)
        axis.plot(known.epoch[later], getattr(known, name)[later], "o", color=colour, markersize=3.5, mfc="white")
        if len(said.epoch):
            axis.plot(said.epoch, said.value[0, i], color=colour, linewidth=1)
            axis.fill_between(said.epoch, said.low[0, i], said.high[0, i], color=colour, alpha=0.15, linewidth=0)
    axis.axvline(float(seen.epoch[-1]), color=NEUTRAL, linewidth=0.8, linestyle=":")
    axis.set_ylim(0 if min(seen.gap.min(), said.value.min(initial=0.0)) >= 0 else None)
    axis.set_title("forecast with 90 % intervals of this panel\nopen points were not used", fontsize=9)
    axis.set_xlabel("epoch")


def _linearity(axis: Axes, found: Analysis) -> None:
    gap, epoch = found.mean.gap, found.mean.epoch
    change = np.diff(gap) / np.diff(epoch)
    axis.plot(gap[:-1], change, "o", color=GAP, markersize=3.5)
    slope = found.linearity.slope
    intercept = float(np.mean(change) - slope * np.mean(gap[:-1]))
    ends = np.array([gap[:-1].min(), gap[:-1].max()])
    axis.plot(ends, slope * ends + intercept, color=NEUTRAL, linewidth=1)
    rate = "" if found.linearity.rate is None else f", rate {found.linearity.rate:.3g}"
    axis.set_title(f"dG/dt against G: slope {slope:.3g}{rate}, $R^2$ {found.linearity.r2:.3f}", fontsize=9)
    axis.set_xlabel("gap G (nats)")
    axis.set_ylabel("dG/dt (nats an epoch)")
