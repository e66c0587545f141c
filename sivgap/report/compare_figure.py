"""Differences between two runs by epoch, with their intervals."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

from sivgap.report.colours import NEUTRAL, VERIFIER
from sivgap.report.compare_sides import METRICS
from sivgap.report.figures import plain, save


def draw_comparison(differences: pd.DataFrame, names: tuple[str, str], path: Path) -> None:
    """One panel a metric, B less A, with 90 % intervals over prompts; PNG and PDF."""
    figure, axes = plt.subplots(1, len(METRICS), figsize=(3.2 * len(METRICS), 3.2), layout="constrained")
    for axis, (metric, label) in zip(axes, METRICS.items(), strict=True):
        rows = differences[differences["metric"] == metric]
        axis.fill_between(rows["epoch"], rows["low"], rows["high"], color=VERIFIER, alpha=0.2, linewidth=0)
        axis.plot(rows["epoch"], rows["difference"], color=VERIFIER, marker="o", markersize=3)
        axis.axhline(0, color=NEUTRAL, linewidth=0.7)
        axis.set_title(label + ("" if metric.endswith("accuracy") else " (nats)"), fontsize=9)
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("B less A")
    figure.suptitle(plain(f"B {names[1]} less A {names[0]}"), fontsize=9)
    save(figure, path)
