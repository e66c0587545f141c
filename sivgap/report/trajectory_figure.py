"""``figures/trajectory.png``: what happened in a run, in one picture. Reads lines of a trajectory; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.special import stdtrit

from sivgap.dynamics.fit import CoupledFit
from sivgap.dynamics.interval import LEVEL
from sivgap.gap.estimate import FEWEST, count_column, wilson
from sivgap.report.colours import GAP, NEUTRAL, SOLVER, VERIFIER
from sivgap.report.figures import save

Line = dict[str, Any]
Column = NDArray[np.float64]


def draw_trajectory(lines: Sequence[Line], fit: CoupledFit | None, title: str, path: Path) -> None:
    """Uncertainties with the fitted law, accuracies, and pass@k of one split's `lines`, as PNG; bars are 90 % intervals
    of the population of prompts."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
    _uncertainties(axes[0], lines, fit)
    _accuracies(axes[1], lines)
    _pass_at_k(axes[2], lines)
    for axis in axes:
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=11)
    save(figure, path)


def column(lines: Sequence[Line], name: str) -> Column:
    """One column as floats, NaN where null."""
    return np.array([np.nan if line.get(name) is None else line[name] for line in lines], dtype=np.float64)


def interval(lines: Sequence[Line], name: str) -> tuple[Column, Column, Column]:
    """A column and the ends of its 90 % interval over prompts, (T,) each, from its logged standard error.

    Accuracies, and AUROCs within prompts, have Wilson's, as `sivgap.gap.estimate.proportion`. NaN where a number was
    not logged, rests on too few prompts (``_informative``), or has no error.
    """
    value, error = column(lines, name), column(lines, f"{name}_se")
    value = np.where(column(lines, count_column(name)) < FEWEST, np.nan, value)
    ends = np.full((len(lines), 2), np.nan)
    for t, line in enumerate(lines):
        prompts = int(line.get("n_prompts") or 0)
        if prompts < 2 or np.isnan(value[t]) or np.isnan(error[t]):
            continue
        if name.endswith(("_accuracy", "_accuracy_all", "_auroc_within")):
            one = name.endswith("_accuracy")
            counted = line.get(count_column(name)) or prompts
            ends[t] = wilson(value[t], error[t], int(counted), counted * (1 if one else int(line["n_samples"])))
        else:
            half = stdtrit(prompts - 1, (1 + LEVEL) / 2) * error[t]
            ends[t] = value[t] - half, value[t] + half
    return value, ends[:, 0], ends[:, 1]


def pass_at_1(lines: Sequence[Line]) -> Column:
    """The solver's accuracy with the least noise: over all samples where pass@1 was measured, else over the first."""
    values = [line["pass_at_k"].get("1") for line in lines]
    return column(lines, "solver_accuracy") if None in values else np.array(values, dtype=np.float64)


def _curve(axis: Axes, lines: Sequence[Line], name: str, colour: str, label: str, fmt: str = "o-") -> None:
    value, low, high = interval(lines, name)
    axis.errorbar(
        column(lines, "epoch"),
        value,
        yerr=None if np.isnan(low).all() else np.nan_to_num([value - low, high - value]),
        fmt=fmt,
        color=colour,
        label=label,
        markersize=4,
        capsize=2,
        linewidth=1.3,
    )


def _uncertainties(axis: Axes, lines: Sequence[Line], fit: CoupledFit | None) -> None:
    dots = "o" if fit else "o-"
    every = np.isfinite(column(lines, "solver_uncertainty_all")).all()
    _curve(axis, lines, "solver_uncertainty_all" if every else "solver_uncertainty", SOLVER, "solver $U_s$", dots)
    _curve(axis, lines, "verifier_uncertainty", VERIFIER, "verifier $U_v$", dots)
    _curve(axis, lines, "gap", GAP, "gap $G=U_s-U_v$", dots)
    if fit is not None:
        t = np.linspace(0, column(lines, "epoch").max(), 200)
        law = fit.law
        axis.plot(t, law.solver(t), color=SOLVER, linewidth=1)
        axis.plot(t, law.verifier(t), color=VERIFIER, linewidth=1)
        axis.plot(t, law.gap(t), color=GAP, linewidth=1)
        r2 = fit.r2
        axis.set_title(
            f"one rate {fit.parameters['rate'].value:.2f} an epoch; "
            f"$R^2$ {r2['solver']:.3f} / {r2['verifier']:.3f} / {r2['gap']:.3f}",
            fontsize=9,
        )
    axis.set_ylabel("uncertainty (nats a response)")
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False)


def _accuracies(axis: Axes, lines: Sequence[Line]) -> None:
    n = lines[0]["n_samples"]
    _curve(axis, lines, "solver_accuracy", SOLVER, "solver, one response")
    _curve(axis, lines, "verifier_accuracy", VERIFIER, f"best of {n} by the verifier")
    _curve(axis, lines, "likeliest_accuracy", NEUTRAL, f"likeliest of {n}, no score", "o--")
    axis.set_ylabel("accuracy")
    axis.legend(frameon=False)


def _pass_at_k(axis: Axes, lines: Sequence[Line]) -> None:
    known = [k for k, value in lines[0]["pass_at_k"].items() if value is not None]
    for shade, k in zip(np.linspace(0.15, 0.85, len(known)), known, strict=True):
        values = [line["pass_at_k"][k] for line in lines]
        axis.plot(
            column(lines, "epoch"), values, "o-", markersize=3, color=plt.get_cmap("viridis")(shade), label=f"k = {k}"
        )
    axis.set_ylabel("pass@k")
    axis.legend(frameon=False, ncols=2)
