"""Figures of several evaluations: the gap over FLOPs (MG Figure 1), and the cross-verification grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import NullFormatter

from sivgap.report.colours import NEUTRAL, VERIFIER
from sivgap.report.figures import plain, save

if TYPE_CHECKING:
    from sivgap.report.evaluations import Scaling


def draw_scaling(scalings: Sequence[Scaling], path: Path) -> None:
    """Relative gap of each model over its pre-training FLOPs, the line and its 90 % prediction band; PNG and PDF.

    In grey, for reference, the models of MG's Table 4 (GSM8K).
    """
    figure, axes = plt.subplots(
        1, len(scalings), figsize=(4.6 * len(scalings), 4), layout="constrained", squeeze=False, sharey=True
    )
    for axis, each in zip(axes[0], scalings, strict=True):
        points = each.points.dropna(subset=["gv_gap_relative"])
        value = points["gv_gap_relative"].to_numpy(np.float64)
        low, high = (points[f"gv_gap_relative_{end}"].to_numpy(np.float64) for end in ("low", "high"))
        axis.errorbar(points["flops"], value, yerr=[value - low, high - value], fmt="o", color=VERIFIER, capsize=2)
        for _, point in points.iterrows():
            axis.annotate(point["model"], (point["flops"], point["gv_gap_relative"]), xytext=(5, 5), fontsize=8,
                          textcoords="offset points")  # fmt: skip
        if each.published is not None:
            axis.scatter(each.published["flops"], each.published["gv_gap_relative"], color=NEUTRAL, s=8, alpha=0.6,
                         label="MG Table 4 (GSM8K)")  # fmt: skip
            axis.legend(fontsize=7, frameon=False, loc="upper left")
        if each.line is not None:
            x = np.geomspace(points["flops"].min(), points["flops"].max(), 50)
            band = each.line.band(x)
            axis.plot(x, band["gap"], color=NEUTRAL, linewidth=1)
            axis.fill_between(x, band["low"], band["high"], color=NEUTRAL, alpha=0.15, linewidth=0)
        axis.set_xscale("log")
        axis.xaxis.set_minor_formatter(NullFormatter())  # within two decades it would label them all, one on another
        axis.margins(x=0.12)
        axis.set_xlabel("pre-training FLOPs (6ND)")
        axis.set_title(plain(each.name), fontsize=9)
        axis.axhline(0, color=NEUTRAL, linewidth=0.5)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("relative gap")
    save(figure, path)


def draw_grid(grids: Mapping[str, pd.DataFrame], path: Path) -> None:
    """The gap of each generator (rows) under each judge (columns), one panel a verifier; as PNG and PDF."""
    figure, axes = plt.subplots(1, len(grids), figsize=(4.6 * len(grids), 4), layout="constrained", squeeze=False)
    most = max(float(np.nanmax(np.abs(grid.to_numpy()))) for grid in grids.values()) or 1.0
    for axis, (name, grid) in zip(axes[0], grids.items(), strict=True):
        axis.imshow(grid.to_numpy(), cmap="RdBu", vmin=-most, vmax=most)
        for (row, column), value in np.ndenumerate(grid.to_numpy()):
            if np.isfinite(value):
                dark = abs(value) > 0.6 * most
                axis.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if dark else "black")
        axis.set_xticks(range(len(grid.columns)), list(grid.columns), rotation=30, ha="right")
        axis.set_yticks(range(len(grid.index)), list(grid.index))
        axis.set_xlabel("judge")
        axis.set_title(plain(name), fontsize=9)
    axes[0, 0].set_ylabel("generator")
    figure.colorbar(axes[0, 0].images[0], ax=axes[0].tolist(), label="gap", shrink=0.8)
    save(figure, path)
