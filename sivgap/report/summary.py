"""The end of a run: the fitted law, a picture, a table, and what to type next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sivgap.dynamics.fit import CoupledFit, fit_coupled
from sivgap.errors import RunError
from sivgap.report.terminal import show_summary
from sivgap.report.trajectory_figure import draw_trajectory
from sivgap.runs.load_curves import best_weights, from_lines
from sivgap.runtime.display import Display


def conclude(run: Path, lines: Sequence[dict[str, Any]], display: Display) -> None:
    """Draw ``figures/trajectory.png`` from the held-out panel and print the summary."""
    held_out = [line for line in lines if line["split"] == "test"]
    fit = fit_if_possible(held_out, run.name)
    picture = run / "figures" / "trajectory.png"
    first = held_out[0]
    draw_trajectory(
        held_out, fit, f"{run.name}: {first['n_prompts']} held-out prompts x {first['n_samples']} samples", picture
    )
    show_summary(display, lines, fit)
    display.say(f"picture: {picture}")
    display.say(f"next: python -m sivgap.report runs={run}   shows all of it as a page; sivgap.fit forecasts")


def fit_if_possible(lines: Sequence[dict[str, Any]], name: str) -> CoupledFit | None:
    """The joint fit of one split's `lines`; None where they are too few or do not move."""
    try:
        curves = from_lines(lines, name)
        return fit_coupled(curves, weights=best_weights([curves]), intervals=False)
    except RunError:
        return None
