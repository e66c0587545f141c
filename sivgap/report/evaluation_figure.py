"""``figures/evaluation.png``: what N responses and a verifier's scores are worth, on one page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from sivgap.report.colours import GAP, NEUTRAL, SOLVER, VERIFIER
from sivgap.report.figures import plain, save
from sivgap.report.tables import shown


def draw_evaluation(tables: Mapping[str, pd.DataFrame], title: str, path: Path) -> None:
    """Accuracy over N, the gap over the threshold, reliability, and scores of right and wrong; as PNG and PDF."""
    figure, axes = plt.subplots(2, 2, figsize=(9.5, 7.5), layout="constrained")
    _over_n(axes[0, 0], tables["over_n"])
    _thresholds(axes[0, 1], tables["gap_by_weight"])
    _reliability(axes[1, 0], tables["reliability"])
    _scores(axes[1, 1], tables["scores"])
    for axis in axes.flat:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(plain(title), fontsize=11)
    save(figure, path)


def band(axis: Axes, x: pd.Series, table: pd.DataFrame, name: str, colour: str, label: str) -> None:
    """A curve with its 90 % interval; without points that rest on too few prompts."""
    value, low, high = (shown(table, name)[column].astype(float) for column in (name, f"{name}_low", f"{name}_high"))
    axis.plot(x, value, "o-", color=colour, label=label, markersize=4)
    axis.fill_between(x.astype(float), low, high, color=colour, alpha=0.15, linewidth=0)


def _over_n(axis: Axes, table: pd.DataFrame) -> None:
    band(axis, table["n"], table, "pass_at_n", NEUTRAL, "pass@N")
    band(axis, table["n"], table, "best_of_n", VERIFIER, "best of N by score")
    axis.plot(table["n"], table["likeliest_of_n"], "s--", color=GAP, label="likeliest of N, no score", markersize=3)
    axis.axhline(float(table["best_of_n"].iloc[0]), color=SOLVER, linewidth=1, label="one response")
    axis.set_xscale("log", base=2)
    axis.set_xticks(table["n"], [str(n) for n in table["n"]])
    axis.set_xlabel("N")
    axis.set_ylabel("accuracy")
    axis.legend(frameon=False, fontsize=8)


def _thresholds(axis: Axes, table: pd.DataFrame) -> None:
    of_kind = table[table["weight"] == "threshold"]
    band(axis, of_kind["parameter"], of_kind, "gv_gap", GAP, "gap")
    band(axis, of_kind["parameter"], of_kind, "gv_gap_aggregate_relative", VERIFIER, "relative gap, aggregate")
    band(axis, of_kind["parameter"], of_kind, "gv_gap_relative", SOLVER, "relative gap, mean over prompts")
    axis.axhline(0, color=NEUTRAL, linewidth=1)
    axis.set_xlabel(r"threshold $\tau$")
    axis.set_ylabel("generation-verification gap")
    axis.legend(frameon=False, fontsize=8)


def _reliability(axis: Axes, table: pd.DataFrame) -> None:
    band(axis, table["score"], table, "accuracy", VERIFIER, "responses of like score")
    axis.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=1, label="calibrated")
    axis.set_xlabel("score")
    axis.set_ylabel("share that is right")
    axis.legend(frameon=False, fontsize=8)


def _scores(axis: Axes, table: pd.DataFrame) -> None:
    width = table["high"] - table["low"]
    for share, colour, label in (("right_share", SOLVER, "right"), ("wrong_share", GAP, "wrong")):
        axis.bar(
            table["low"],
            table[share].astype(float).fillna(0),
            width,
            align="edge",
            color=colour,
            alpha=0.5,
            label=label,
        )
    axis.set_xlabel("score")
    axis.set_ylabel("share of responses")
    axis.legend(frameon=False, fontsize=8)
