"""``figures/over_n.png``: solver and verifier over N, at the first and the last measurement."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

from sivgap.report.colours import NEUTRAL, SOLVER, VERIFIER
from sivgap.report.figures import plain, save


def draw_over_n(tables: dict[float, pd.DataFrame], title: str, path: Path) -> None:
    """`tables` are those of `sivgap.report.over_n.over_n`, by epoch; as PNG and PDF."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
    for epoch, table in sorted(tables.items()):
        style = "o:" if epoch == min(tables) and len(tables) > 1 else "o-"
        for axis, what in zip(axes, ("uncertainty", "accuracy"), strict=True):
            for who, colour in (("solver", SOLVER), ("verifier", VERIFIER)):
                axis.plot(table["n"], table[f"{who}_{what}"], style, color=colour, label=f"{who}, epoch {epoch:g}")
        axes[1].plot(table["n"], table["likeliest_accuracy"], style, color=NEUTRAL, label=f"likeliest, epoch {epoch:g}")
    axes[0].set_ylabel("uncertainty (nats a response)")
    axes[1].set_ylabel("accuracy")
    for axis in axes:
        axis.set_xscale("log", base=2)
        axis.set_xlabel("N")
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=8)
    figure.suptitle(plain(title), fontsize=11)
    save(figure, path)
