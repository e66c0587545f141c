"""``python -m sivgap.fit csv=FILE curve=COLUMN``: one column of anybody's run, forecast.

Reads a CSV file, a run on W&B or run directories; writes ``fit.json``, ``report.html``, ``tables/`` and ``figures/``
under ``out``/NAME.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from sivgap.dynamics.curve import Curve
    from sivgap.fit import FitConfig


def fit_curve(config: FitConfig) -> None:
    """Forecast each curve; prints the path of ``fit.json``.

    Raises:
        ConfigError: If the source does not exist.
        RunError: If it cannot be forecast, with the reason.
    """
    from sivgap.dynamics.curve_analysis import analyse_curve
    from sivgap.dynamics.curve_json import curves_as_json
    from sivgap.report.curve_figure import draw_curves
    from sivgap.report.curve_page import page_of_curves
    from sivgap.report.curve_tables import curves_table, print_curves
    from sivgap.report.tables import write_table
    from sivgap.runtime.display import Display
    from sivgap.runtime.files import write_json, write_text

    curves, name = _read(config)
    display = Display()
    found = []
    with display.phase("forecasting", len(curves), "curves") as advance:
        for curve in curves:
            found.append(analyse_curve(curve, config.until, config.horizon, config.forecast.method))
            advance(1, 0)
    folder = Path(config.out) / name
    folder.mkdir(parents=True, exist_ok=True)
    print_curves(found, display)
    write_json(folder / "fit.json", curves_as_json(found), folder)
    write_table(curves_table(found), folder / "tables" / "forecast")
    draw_curves(found, folder / "figures" / "curve.png")
    write_text(folder / "report.html", page_of_curves(found, f"{name}, {config.curve}"))
    display.say(f"page: {folder / 'report.html'}")
    print(folder / "fit.json")


def _read(config: FitConfig) -> tuple[list[Curve], str]:
    """The curves, and the name of the folder where results go: one of its own for each column."""
    assert config.curve is not None
    column = re.sub(r"[^\w.-]+", "_", config.curve)[:60]
    if config.csv:
        from sivgap.runs.tables import read_csv

        path = Path(config.csv)
        return _split(read_csv(path), config, path.name), f"{path.stem}-{column}"
    if config.wandb:
        from sivgap.runs.tables import read_wandb

        return _split(read_wandb(config.wandb), config, config.wandb), f"{config.wandb.rpartition('/')[2]}-{column}"
    return _of_runs(config, column)


def _split(table: pd.DataFrame, config: FitConfig, name: str) -> list[Curve]:
    """One curve, or one of each value of the column ``run=``.

    Raises:
        RunError: If there is no such column, or no run in it.
    """
    from sivgap.dynamics.curve import read_curve
    from sivgap.errors import RunError

    assert config.curve is not None
    if config.run is None:
        return [read_curve(table, config.curve, config.step, name, config.entropy)]
    if config.run not in table.columns:
        found = ", ".join(str(title)[:40] for title in table.columns[:12]) or "none"
        raise RunError(f"{name}: no column {config.run}; found {found}")
    curves = [
        read_curve(one, config.curve, config.step, str(run)[:60], config.entropy)
        for run, one in table.groupby(config.run, sort=True)
    ]
    if not curves:
        raise RunError(f"{name}: its column {config.run} names no run")
    return curves


def _of_runs(config: FitConfig, column: str) -> tuple[list[Curve], str]:
    """A column of the trajectory of run directories."""
    import pandas as pd

    from sivgap.dynamics.curve import read_curve
    from sivgap.runs.load_curves import common_name, run_folders
    from sivgap.runs.trajectory import Trajectory

    assert config.runs is not None
    assert config.curve is not None
    folders = run_folders(config.runs)
    curves = []
    for folder in folders:
        lines = [one for one in Trajectory(folder / "trajectory.jsonl").read() if one.get("split") == config.split]
        curves.append(
            read_curve(pd.DataFrame(lines), config.curve, config.step or "epoch", folder.name, config.entropy)
        )
    return curves, f"{common_name(folders)}-{column}"
