"""The pictures of `real_models.py`, from results/real_models/ alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from sivgap.report.cross_figure import STRATEGY_COLOURS
from sivgap.report.evaluation_record import read_evaluation
from sivgap.report.figures import save
from sivgap.report.trajectory_figure import NEUTRAL, VERIFIER
from sivgap.runs.trajectory import Trajectory

HALF = 1.645
"""Of a 90 % interval, in standard errors."""
Row = dict[str, Any]


def draw(kept: Path, done: Sequence[str]) -> None:
    """verdicts.png, self.png and cross.png, each where something of it is done."""
    judged = [name for name in done if name.startswith(("choice", "verifiers", "judges"))]
    if judged:
        _verdicts(kept, judged)
    for group, names in {
        "self": [name for name in done if name.startswith("self")],
        "cross": [name for name in done if name.startswith(("cross", "self/own"))],
    }.items():
        if names:
            _curves(kept, names, group)
    for path in (kept / "figures").glob("*.pdf"):
        path.unlink()


def _verdicts(kept: Path, names: Sequence[str]) -> None:
    """What each verifier ranks within problems, beside the likelihood of the same responses."""
    figure, axis = plt.subplots(figsize=(8, 0.45 * len(names) + 1.6), layout="constrained")
    for row, name in enumerate(reversed(names)):
        found = read_evaluation(kept / name)
        ranked = (found.rival.score_auroc_within, VERIFIER, 0.1), (found.rival.likelihood_auroc_within, NEUTRAL, -0.1)
        for estimate, colour, shift in ranked:
            if estimate.value is not None and estimate.low is not None and estimate.high is not None:
                ends = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
                axis.errorbar([estimate.value], [row + shift], xerr=ends, fmt="o", color=colour, markersize=5)
    labels = [f"{e.verifier} of {e.judge}\non {e.generator}" for e in (read_evaluation(kept / n) for n in names)]
    axis.set_yticks(range(len(names)), reversed(labels), fontsize=7)
    axis.axvline(0.5, color=NEUTRAL, linewidth=0.8, linestyle=":")
    for colour, label in ((VERIFIER, "the verifier's score"), (NEUTRAL, "the likelihood per token, no verdict")):
        axis.plot([], [], "o", color=colour, label=label)
    axis.set(xlabel="AUROC within problems, 90 % intervals", xlim=(0, 1.02))
    axis.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1))
    _plain(axis)
    save(figure, kept / "figures" / "verdicts.png")


def _curves(kept: Path, names: Sequence[str], group: str) -> None:
    """Left: U_s and U_v. Middle: pass@1. Right: pass@k of the largest k. Held out, by epoch."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    for colour, name in zip(STRATEGY_COLOURS[1:], names, strict=False):
        lines = [line for line in Trajectory(kept / name / "trajectory.jsonl").read() if line["split"] == "test"]
        epoch = [line["epoch"] for line in lines]
        label = name.partition("/")[2]
        axes[0].plot(epoch, [line["solver_uncertainty_all"] for line in lines], "o-", color=colour, label=label)
        axes[0].plot(epoch, [line["verifier_uncertainty"] for line in lines], "s--", color=colour, markersize=4)
        one = np.array([line["pass_at_k"]["1"] for line in lines])
        error = HALF * np.array([line["solver_accuracy_se"] for line in lines])
        axes[1].plot(epoch, one, "o-", color=colour)
        axes[1].fill_between(epoch, one - error, one + error, color=colour, alpha=0.1, linewidth=0)
        axes[2].plot(epoch, [line["pass_at_k"][str(lines[0]["n_samples"])] for line in lines], "o-", color=colour)
    axes[0].set(ylabel="nats per response: U_s (solid), U_v (dashed)", ylim=(0, None))
    axes[1].set(ylabel="pass@1", ylim=(0, 1.02))
    axes[2].set(ylabel="pass@N", ylim=(0, 1.02))
    axes[0].legend(frameon=False, fontsize=8)
    for axis in axes:
        axis.set(xlabel="epoch")
        _plain(axis)
    save(figure, kept / "figures" / f"{group}.png")


def _plain(axis: Axes) -> None:
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
