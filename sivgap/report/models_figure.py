"""Gaps of many models over pre-training FLOPs and over accuracy."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sivgap.gap.scaling import fit_line, gap_columns
from sivgap.report.colours import NEUTRAL, VERIFIER
from sivgap.report.figures import plain, save


def draw_models(models: pd.DataFrame, path: Path) -> None:
    """One column a gap: above over FLOPs, with the line and its 90 % band, below over accuracy; PNG and PDF."""
    gaps = gap_columns(models)
    figure, axes = plt.subplots(
        2, len(gaps), figsize=(2.7 * len(gaps), 5.4), layout="constrained", squeeze=False, sharey=True
    )
    for above, below, name in zip(axes[0], axes[1], gaps, strict=True):
        known = models[models[name].notna()]
        sized = known[known["flops"].notna()]
        above.scatter(sized["flops"], sized[name], color=VERIFIER, s=14)
        line = fit_line(sized["flops"].to_numpy(np.float64), sized[name].to_numpy(np.float64))
        if line is not None:
            x = np.geomspace(sized["flops"].min(), sized["flops"].max(), 50)
            band = line.band(x)
            above.plot(x, band["gap"], color=NEUTRAL, linewidth=1)
            above.fill_between(x, band["low"], band["high"], color=NEUTRAL, alpha=0.15, linewidth=0)
        above.set_xscale("log")
        above.set_title(plain(name), fontsize=9)
        below.scatter(known["accuracy"], known[name], color=VERIFIER, s=14)
        for axis in (above, below):
            axis.axhline(0, color=NEUTRAL, linewidth=0.5)
            axis.grid(alpha=0.25)
            axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("gap")
    figure.supxlabel("above: pre-training FLOPs (6ND); below: accuracy", fontsize=9)
    save(figure, path)
