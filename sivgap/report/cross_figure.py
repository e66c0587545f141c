"""``figures/cross.png``: what external data did to uncertainties and accuracy, by strategy."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from sivgap.dynamics.cross import curves
from sivgap.report.cross_model import CrossModel
from sivgap.report.cross_tables import CrossGroup
from sivgap.report.trajectory_figure import column

STRATEGY_COLOURS = ("#666666", "#0072B2", "#009E73", "#D55E00", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's: without data, early, uniform, late, and others."""


def draw_cross(group: CrossGroup, model: CrossModel | None, title: str, path: Path) -> None:
    """Means over seeds (bands: one standard deviation), with the jointly fitted law, held out; as PNG and PDF."""
    figure, axes = plt.subplots(1, 3, figsize=(13.5, 4.3), layout="constrained")
    shown = (("solver_uncertainty_all", "solver $U_s$ (nats)"), ("verifier_uncertainty", "verifier $U_v$ (nats)"),
             ("solver_accuracy", "solver accuracy"))  # fmt: skip
    for axis, (name, label) in zip(axes, shown, strict=True):
        for colour, (strategy, records) in zip(STRATEGY_COLOURS, group.runs.items(), strict=False):
            epoch = column(records[0].of("test"), "epoch")
            values = np.array([column(record.of("test"), name) for record in records])
            mean = values.mean(axis=0)
            axis.plot(epoch, mean, "o", color=colour, markersize=3.5, label=strategy)
            if len(values) > 1:
                sd = values.std(axis=0, ddof=1)
                axis.fill_between(epoch, mean - sd, mean + sd, color=colour, alpha=0.12, linewidth=0)
            if model is not None and name != "solver_accuracy":
                t = np.linspace(0, epoch[-1], 200)
                law = curves(model.fit.law, model.fit.parameters["gamma"].value, model.fit.form,
                             model.strategies[strategy].arrivals, t)  # fmt: skip
                axis.plot(t, law[0 if name.startswith("solver") else 1], color=colour, linewidth=1)
            elif name == "solver_accuracy":
                axis.plot(epoch, mean, color=colour, linewidth=1)
        axis.set_xlabel("epoch")
        axis.set_ylabel(label)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    axes[2].legend(frameon=False)
    figure.suptitle(title.replace("$", r"\$"), fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    for suffix in (".png", ".pdf"):
        figure.savefig(path.with_suffix(suffix), dpi=150)
    plt.close(figure)
