"""``figures/rounds.png``: the gap round by round, and pass@k before and after."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from sivgap.report.cross_figure import STRATEGY_COLOURS
from sivgap.report.figures import plain, save
from sivgap.report.rounds import Rounds


def draw_rounds(rounds: Mapping[str, Rounds], title: str, path: Path) -> None:
    """Left: the gap with its 90 % intervals, without rounds that rest on too few prompts. Right: pass@k at the first
    measurement (dashed) and at the last; where the two cross, self-improvement has given up what more samples would
    have found. As PNG and PDF."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    for colour, (name, each) in zip(cycle(STRATEGY_COLOURS[1:]), rounds.items(), strict=False):
        value, low, high = (
            [float("nan") if each.hidden(t) else getattr(gap, part) for t, gap in enumerate(each.gap)]
            for part in ("value", "low", "high")
        )
        left.plot(each.epoch, value, "o-", color=colour, markersize=3.5, label=plain(name))
        left.fill_between(each.epoch, low, high, color=colour, alpha=0.12, linewidth=0)
        if each.passed is not None:
            before, after = each.passed.mean(axis=(2, 3))
            right.plot(each.ks, before, "--", color=colour, linewidth=1)
            right.plot(each.ks, after, "o-", color=colour, markersize=3.5, label=plain(name))
            right.set_xscale("log", base=2)
            right.set_xticks(each.ks, [str(k) for k in each.ks])
    left.axhline(0, color="#666666", linewidth=0.8)
    left.set(xlabel="epoch", ylabel="generation-verification gap")
    right.set(xlabel="k", ylabel="pass@k, dashed: before")
    left.legend(frameon=False, fontsize=8)
    for axis in (left, right):
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(plain(title), fontsize=11)
    save(figure, path)
