"""The report of a sweep: the paper's tables, tests, the fitted cross-improvement model, and every run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from sivgap.report.cross_figure import draw_cross
from sivgap.report.cross_model import cross_model
from sivgap.report.cross_model import sentences as model_sentences
from sivgap.report.cross_tables import (
    CrossGroup,
    by_setting,
    cross_groups,
    pairs_table,
    paper_table,
    sentences,
    solver_ends,
)
from sivgap.report.fit_tables import arrivals_table
from sivgap.report.page import page_of_sweep
from sivgap.report.predictions import limits_over_initial_gaps, timing_by_epoch
from sivgap.report.rounds import pass_at_k_table, read_rounds, rounds_table
from sivgap.report.rounds import sentences as round_sentences
from sivgap.report.rounds_figure import draw_rounds
from sivgap.report.sweep_record import read_sweep
from sivgap.report.tables import cells, estimates_table, runs_table, write_table
from sivgap.runtime.display import Display
from sivgap.runtime.files import write_text
from sivgap.runtime.sanitize import sanitize

if TYPE_CHECKING:
    import pandas as pd

MARGIN = 0.02
"""Accuracies within two points are called equivalent, and a gap within two points gone, unless told otherwise."""

_PRINTED = ("table", "pairs", "timing", "predictions", "limits")
"""How the names of the tables begin that the terminal shows."""

MOST_SAID = 12
"""Settings up to which each gets a sentence; the tables have all of them."""


def report_sweep(path: Path, display: Display, margin: float = MARGIN) -> Path:
    """Write ``report.html``, ``tables/`` and ``figures/`` of the sweep in `path`; print its tables.

    Raises:
        RunError: If it cannot be read, or none of its jobs is complete.
    """
    sweep = read_sweep(path)
    tables: dict[str, tuple[str, pd.DataFrame]] = {}
    said: list[str] = []
    groups = cross_groups(sweep)
    if groups:
        for number, who in enumerate(("solver", "verifier"), 1):
            tables[f"table{number}"] = paper_table(groups, who)
    models = [cross_model(group) for group in groups]
    for number, (group, model) in enumerate(zip(groups, models, strict=True), 1):
        mark, name = ("", "") if len(groups) == 1 else (f"_{number}", f", {group.name}")
        ends = solver_ends(group)
        said += sentences(group, ends, margin)
        tables[f"pairs{mark}"] = (
            f"Solver accuracy, pairs of strategies, held out{name}",
            pairs_table(group, ends, margin),
        )
        timing = timing_by_epoch(group)
        if timing is not None:
            tables[f"timing{mark}"] = (f"Strategies of external data after the last arrival, held out{name}", timing)
        if model is not None:
            said += model_sentences(model)
            tables[f"cross_fit{mark}"] = (
                f"Cross-improvement model, joint fit{name}: low and high for "
                f"{'the population of prompts' if model.fit.by_prompts else 'this panel'}",
                estimates_table(model.fit.parameters),
            )
            if model.arrivals is not None:
                tables[f"arrivals{mark}"] = (
                    f"gamma from the verifier's jump at arrivals, training panel{name}",
                    arrivals_table(model.arrivals),
                )
            tables[f"predictions{mark}"] = (f"Each strategy predicted from the others{name} (nats)", model.predictions)
        draw_cross(group, model, f"{sweep.name}{name}: {_measured(group)}", path / "figures" / f"cross{mark}.png")
    rounds = {} if groups else read_rounds(sweep.named())
    if rounds:
        tables["rounds"] = ("Round by round, held out", rounds_table(rounds))
        tables["pass_at_k"] = ("pass@k before and after, held out", pass_at_k_table(rounds))
        if len(rounds) <= MOST_SAID:
            said += round_sentences(rounds, margin)
        draw_rounds(rounds, sweep.name, path / "figures" / "rounds.png")
    limits = limits_over_initial_gaps(sweep)
    if limits is not None:
        tables["limits"] = ("Limits over initial gaps, held out (nats; 90 % over prompts)", limits[0])
        said += limits[1]
    tables["settings"] = ("Settings, at the end, held out", by_setting(sweep.named()))
    tables["runs"] = ("Runs", runs_table(sweep.records))
    for name, (_, table) in tables.items():
        write_table(table, path / "tables" / name)
    write_text(path / "report.html", page_of_sweep(sweep, groups, models, rounds, list(tables.values()), said))
    for name in tables:
        if name.startswith(_PRINTED) or (name == "settings" and not groups):
            _print(*tables[name], display)
    for sentence in said:
        display.say(sentence)
    display.say(f"report: {path / 'report.html'}")
    return path / "report.html"


def _measured(group: CrossGroup) -> str:
    records = next(iter(group.runs.values()))
    line = records[0].of("test")[-1]
    return f"{len(records)} seeds, {line['n_prompts']} held-out prompts x {line['n_samples']} samples"


def _print(title: str, frame: pd.DataFrame, display: Display) -> None:
    table = Table(title=title, title_justify="left")
    for i, name in enumerate(frame.columns):
        table.add_column(escape(sanitize(str(name))), justify="right" if i else "left")
    for row in cells(frame):
        table.add_row(*(escape(sanitize(cell)) for cell in row))
    display.console.print(table)
