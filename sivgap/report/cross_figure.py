"""``figures/cross.png``: what external data did to uncertainties and accuracy, by strategy."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.cross import curves
from sivgap.report.cross_model import CrossModel
from sivgap.report.cross_tables import CrossGroup
from sivgap.report.figures import plain, save
from sivgap.report.trajectory_figure import column, pass_at_1

STRATEGY_COLOURS = ("#666666", "#0072B2", "#009E73", "#D55E00", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's: without data, early, uniform, late, and others."""


def draw_cross(group: CrossGroup, model: CrossModel | None, title: str, path: Path) -> None:
    """Means over seeds (bands: one standard deviation), with the jointly fitted law, held out; as PNG and PDF."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    _uncertainty(axes[0, 0], group, model, "solver_uncertainty_all", "solver $U_s$ (nats)")
    _uncertainty(axes[0, 1], group, model, "verifier_uncertainty", "verifier $U_v$ (nats)")
    _accuracy(axes[1, 0], group)
    _gain(axes[1, 1], group)
    for axis in axes.flat:
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].legend(frameon=False)
    figure.suptitle(plain(title), fontsize=11)
    save(figure, path)


def _by_strategy(group: CrossGroup, name: str) -> Iterator[tuple[str, str, Array, Array]]:
    """Colour, strategy, epochs (T,), and values (S, T) of one column."""
    for colour, (strategy, records) in zip(cycle(STRATEGY_COLOURS), group.runs.items(), strict=False):
        lines = [record.of("test") for record in records]
        values = np.array([pass_at_1(one) if name == "solver_accuracy" else column(one, name) for one in lines])
        yield colour, strategy, column(lines[0], "epoch"), values


def _curve(axis: Axes, colour: str, strategy: str, epoch: Array, values: Array, fmt: str) -> None:
    mean = values.mean(axis=0)
    axis.plot(epoch, mean, fmt, color=colour, markersize=3.5, linewidth=1, label=strategy)
    if len(values) > 1:
        deviation = values.std(axis=0, ddof=1)
        axis.fill_between(epoch, mean - deviation, mean + deviation, color=colour, alpha=0.12, linewidth=0)


def _uncertainty(axis: Axes, group: CrossGroup, model: CrossModel | None, name: str, label: str) -> None:
    for colour, strategy, epoch, values in _by_strategy(group, name):
        _curve(axis, colour, strategy, epoch, values, "o" if model else "o-")
        if model is not None:
            t = np.linspace(0, epoch[-1], 200)
            gamma, arrivals = model.fit.parameters["gamma"].value, model.strategies[strategy].arrivals
            law = curves(model.fit.law, gamma, model.fit.form, arrivals, t)
            axis.plot(t, law[0 if name.startswith("solver") else 1], color=colour, linewidth=1)
    axis.set_ylabel(label)


def _accuracy(axis: Axes, group: CrossGroup) -> None:
    for one in _by_strategy(group, "solver_accuracy"):
        _curve(axis, *one, "o-")
    axis.set_ylabel("solver accuracy")


def _gain(axis: Axes, group: CrossGroup) -> None:
    """What external data bring, seed by seed against the same seed without."""
    found = list(_by_strategy(group, "solver_accuracy"))
    baseline = found[0][3]
    for colour, strategy, epoch, values in found[1:]:
        _curve(axis, colour, strategy, epoch, 100 * (values - baseline), "o-")
    axis.axhline(0, color=STRATEGY_COLOURS[0], linewidth=0.8)
    axis.set_ylabel("solver accuracy above the baseline (points)")
