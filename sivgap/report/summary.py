"""The end of a run: the fitted law, a picture, a table, and what to type next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sivgap.dynamics.fit import fit_coupled
from sivgap.progress import Display
from sivgap.report.trajectory_figure import column, draw_trajectory


def conclude(run: Path, lines: Sequence[dict[str, Any]], display: Display) -> None:
    """Draw ``figures/trajectory.png`` from the held-out panel and print the summary."""
    held_out = [line for line in lines if line["split"] == "test"]
    fit = fit_coupled(
        column(held_out, "epoch"), column(held_out, "solver_uncertainty"), column(held_out, "verifier_uncertainty")
    )
    picture = run / "figures" / "trajectory.png"
    first = held_out[0]
    draw_trajectory(
        held_out, fit, f"{run.name}: {first['n_prompts']} held-out prompts x {first['n_samples']} samples", picture
    )
    display.summary(lines, fit)
    display.say(f"picture: {picture}")
    display.say("next: python -m sivgap.train -m verifier=qe,tf seed=0,1,2   compares two verifiers over three seeds")
