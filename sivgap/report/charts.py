"""Interactive charts of a report, as plotly figures; the page colours their text and grid by its theme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sivgap.dynamics.analysis import Analysis
from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.cross import curves
from sivgap.gap.scaling import gap_columns
from sivgap.report.colours import GAP, NEUTRAL, SOLVER, VERIFIER
from sivgap.report.cross_figure import STRATEGY_COLOURS
from sivgap.report.cross_model import CrossModel
from sivgap.report.record import Record
from sivgap.report.render import blank
from sivgap.report.tables import shown
from sivgap.report.trajectory_figure import Line, column, interval, pass_at_1

if TYPE_CHECKING:
    from sivgap.report.evaluations import Scaling
    from sivgap.report.rounds import Rounds

_CURVES = (
    ("solver_uncertainty", "solver", SOLVER, "U_s"),
    ("verifier_uncertainty", "verifier", VERIFIER, "U_v"),
    ("gap", "gap", GAP, "gap"),
)


def uncertainties(record: Record, found: Analysis | None) -> go.Figure:
    """Measured U_s, U_v and gap (90 % intervals over prompts), the fitted law, and the forecast with its interval."""
    figure, lines = blank("epoch", "uncertainty (nats a response)"), record.of("test")
    for name, curve, colour, label in _CURVES:
        value, low, high = interval(lines, name)
        figure.add_scatter(
            x=column(lines, "epoch"), y=value, mode="markers", name=label, marker={"color": colour},
            error_y=_bars(value, low, high),
        )  # fmt: skip
        if found is None:
            continue
        t = np.linspace(0, column(lines, "epoch").max(), 120)
        figure.add_scatter(
            x=t, y=getattr(found.fit.law, curve)(t), mode="lines", name=f"{label}, law", line={"color": colour}
        )
        _band(figure, found, curve, colour, label)
    return figure


def _band(figure: go.Figure, found: Analysis, curve: str, colour: str, label: str) -> None:
    i, said = ("solver", "verifier", "gap").index(curve), found.forecast
    figure.add_scatter(
        x=said.epoch, y=said.value[0, i], mode="lines", name=f"{label}, forecast", line={"color": colour, "dash": "dot"}
    )
    figure.add_scatter(
        x=np.concatenate([said.epoch, said.epoch[::-1]]), y=np.concatenate([said.low[0, i], said.high[0, i][::-1]]),
        fill="toself", fillcolor=colour, opacity=0.15, line={"width": 0}, mode="lines", hoverinfo="skip",
        showlegend=False,
    )  # fmt: skip


def accuracies(record: Record) -> go.Figure:
    """Solver, best-of-N and best-of-N without the score, with 90 % intervals."""
    figure, lines = blank("epoch", "accuracy"), record.of("test")
    for name, colour, label, dash in (
        ("solver_accuracy", SOLVER, "one response", "solid"),
        ("verifier_accuracy", VERIFIER, "best of N by the verifier", "solid"),
        ("likeliest_accuracy", NEUTRAL, "likeliest of N, no score", "dash"),
    ):
        _measured(figure, lines, name, colour, label, dash)
    return figure


def gv_gap(record: Record) -> go.Figure:
    """The generation-verification gap and its two relative forms by epoch, with 90 % intervals.

    What rests on fewer than ten informative prompts is left out, and what an older run's lines mean otherwise.
    """
    figure, lines = blank("epoch", "generation-verification gap"), record.of("test")
    for name, colour, label in (
        ("gv_gap", GAP, "gap"),
        ("gv_gap_aggregate_relative", VERIFIER, "relative gap, aggregate"),
        ("gv_gap_relative", SOLVER, "relative gap, mean over prompts"),
    ):
        _measured(figure, lines, name, colour, label)
    return figure


def _measured(
    figure: go.Figure, lines: Sequence[Line], name: str, colour: str, label: str, dash: str = "solid"
) -> None:
    """One column by epoch with its 90 % intervals over prompts; nothing where no line has it."""
    value, low, high = interval(lines, name)
    if np.isnan(value).all():
        return
    figure.add_scatter(
        x=column(lines, "epoch"), y=_known(value), mode="lines+markers", name=label,
        line={"color": colour, "dash": dash}, marker={"size": 4}, error_y=_bars(value, low, high),
    )  # fmt: skip


def pass_at_k(record: Record) -> go.Figure:
    """pass@k by epoch."""
    figure, lines = blank("epoch", "pass@k"), record.of("test")
    known = [k for k, value in lines[0]["pass_at_k"].items() if value is not None]
    for shade, k in zip(np.linspace(0.25, 1, len(known)), known, strict=True):
        figure.add_scatter(
            x=column(lines, "epoch"), y=[line["pass_at_k"].get(k) for line in lines], mode="lines+markers",
            name=f"k = {k}", line={"color": SOLVER}, opacity=float(shade), marker={"size": 4},
        )  # fmt: skip
    return figure


def linearity(found: Analysis) -> go.Figure:
    """DG/dt against G (SV Fig. 2)."""
    figure = blank("gap G (nats)", "dG/dt (nats an epoch)")
    gap, epoch = found.mean.gap, found.mean.epoch
    change = np.diff(gap) / np.diff(epoch)
    figure.add_scatter(x=gap[:-1], y=change, mode="markers", name="measured", marker={"color": GAP})
    ends = np.array([gap[:-1].min(), gap[:-1].max()])
    slope = found.linearity.slope
    figure.add_scatter(
        x=ends, y=slope * (ends - gap[:-1].mean()) + change.mean(), mode="lines",
        name=f"slope {slope:.3g}, R² {found.linearity.r2:.3f}", line={"color": NEUTRAL},
    )  # fmt: skip
    return figure


def over_n(tables: dict[float, pd.DataFrame]) -> go.Figure:
    """Accuracy of solver and verifier over N, at the first and the last measurement."""
    figure = blank("N", "accuracy")
    figure.update_xaxes(type="log", dtick=np.log10(2))
    for epoch, table in sorted(tables.items()):
        dash = "dot" if epoch == min(tables) else "solid"
        for name, colour, label in (("solver", SOLVER, "solver"), ("verifier", VERIFIER, "best of N")):
            figure.add_scatter(
                x=table["n"], y=table[f"{name}_accuracy"], mode="lines+markers", name=f"{label}, epoch {epoch:g}",
                line={"color": colour, "dash": dash},
            )  # fmt: skip
    return figure


def by_strategy(runs: Mapping[str, Sequence[Record]], name: str, label: str, model: CrossModel | None) -> go.Figure:
    """One column of every setting, mean over its seeds with one standard deviation, and the law of `model`."""
    figure = blank("epoch", label)
    for i, (strategy, records) in enumerate(runs.items()):
        colour = STRATEGY_COLOURS[i % len(STRATEGY_COLOURS)]
        epoch = column(records[0].of("test"), "epoch")
        lines = [record.of("test")[: len(epoch)] for record in records]
        values = np.array([pass_at_1(one) if name == "solver_accuracy" else column(one, name) for one in lines])
        figure.add_scatter(
            x=epoch, y=values.mean(axis=0), mode="markers" if model else "lines+markers", name=strategy,
            marker={"color": colour, "size": 5}, line={"color": colour},
            error_y={"array": values.std(axis=0, ddof=1), "thickness": 1, "width": 2} if len(values) > 1 else None,
        )  # fmt: skip
        if model is not None:
            t = np.linspace(0, float(epoch[-1]), 120)
            gamma = model.fit.parameters["gamma"].value
            law = curves(model.fit.law, gamma, model.fit.form, model.strategies[strategy].arrivals, t)
            figure.add_scatter(
                x=t, y=law[0 if name.startswith("solver") else 1], mode="lines", name=f"{strategy}, law",
                line={"color": colour, "width": 1}, showlegend=False,
            )  # fmt: skip
    return figure


def pass_at_k_ends(rounds: Mapping[str, Rounds]) -> go.Figure:
    """pass@k over k, by setting, at the first measurement (dashed) and at the last."""
    figure = blank("k", "pass@k")
    figure.update_xaxes(type="log", dtick=np.log10(2))
    for i, (name, each) in enumerate(rounds.items()):
        if each.passed is None:
            continue
        for when, values, dash in zip(
            ("before", "after"), each.passed.mean(axis=(2, 3)), ("dash", "solid"), strict=True
        ):
            figure.add_scatter(
                x=list(each.ks), y=values, mode="lines+markers", name=f"{name}, {when}", marker={"size": 4},
                line={"color": STRATEGY_COLOURS[1:][i % len(STRATEGY_COLOURS[1:])], "dash": dash},
            )  # fmt: skip
    return figure


def overlay(records: Sequence[Record], name: str, label: str) -> go.Figure:
    """One column of every run."""
    figure = blank("epoch", label)
    for record in records:
        lines = record.of("test")
        figure.add_scatter(x=column(lines, "epoch"), y=column(lines, name), mode="lines+markers", name=record.name)
    return figure


def evaluation_over_n(table: pd.DataFrame) -> go.Figure:
    """Best of N by score and pass@N, each with its 90 % interval."""
    figure = blank("N", "accuracy")
    _estimates(figure, table, "n", "pass_at_n", NEUTRAL, "pass@N")
    _estimates(figure, table, "n", "likeliest_of_n", GAP, "likeliest of N, no score")
    _estimates(figure, table, "n", "best_of_n", VERIFIER, "best of N by score")
    figure.update_xaxes(type="log", tickvals=list(table["n"]), ticktext=[str(n) for n in table["n"]])
    return figure


def gap_over_threshold(table: pd.DataFrame) -> go.Figure:
    """Gap and relative gap over the threshold."""
    figure, swept = blank("threshold", "generation-verification gap"), table[table["weight"] == "threshold"]
    _estimates(figure, swept, "parameter", "gv_gap", GAP, "gap")
    _estimates(figure, swept, "parameter", "gv_gap_aggregate_relative", VERIFIER, "relative gap, aggregate")
    _estimates(figure, swept, "parameter", "gv_gap_relative", SOLVER, "relative gap, mean over prompts")
    return figure


def reliability(table: pd.DataFrame) -> go.Figure:
    """Share that is right among responses of like score."""
    figure = blank("score", "share that is right")
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", name="calibrated", line={"color": NEUTRAL})
    _estimates(figure, table, "score", "accuracy", VERIFIER, "responses of like score")
    return figure


def scaling(found: Scaling) -> go.Figure:
    """Relative gaps over FLOPs, and the line with its prediction band."""
    figure = blank("pre-training FLOPs (6ND)", "relative gap")
    points = found.points.dropna(subset=["gv_gap_relative"])
    if found.line is not None:
        x = np.geomspace(points["flops"].min(), points["flops"].max(), 50)
        band = found.line.band(x)
        figure.add_scatter(x=x, y=band["gap"], mode="lines", name="line", line={"color": NEUTRAL})
        figure.add_scatter(
            x=np.concatenate([x, x[::-1]]), y=np.concatenate([band["high"], band["low"][::-1]]), fill="toself",
            fillcolor=NEUTRAL, opacity=0.15, line={"width": 0}, mode="lines", hoverinfo="skip", showlegend=False,
        )  # fmt: skip
    _estimates(figure, points, "flops", "gv_gap_relative", VERIFIER, "models")
    figure.data[-1].update(mode="markers", text=list(points["model"]))
    if found.published is not None:
        them = found.published
        figure.add_scatter(x=them["flops"], y=them["gv_gap_relative"], mode="markers", name="MG Table 4 (GSM8K)",
                           text=list(them["model"]), marker={"color": NEUTRAL, "size": 5})  # fmt: skip
    figure.update_xaxes(type="log")
    return figure


def gaps_over(models: pd.DataFrame, column: str, label: str) -> go.Figure:
    """Every gap of a table of models (`read_models`) over one of its columns."""
    figure = blank(label, "gap")
    for name in gap_columns(models):
        known = models[models[name].notna() & models[column].notna()]
        figure.add_scatter(x=known[column], y=known[name], mode="markers", name=name, text=list(known["model"]))
    if column == "flops":
        figure.update_xaxes(type="log")
    return figure


def difference(rows: pd.DataFrame) -> go.Figure:
    """Of one metric of two runs, by epoch."""
    figure = blank("epoch", "B less A")
    _estimates(figure, rows.assign(difference_low=rows["low"], difference_high=rows["high"]), "epoch", "difference",
               VERIFIER, "B less A")  # fmt: skip
    return figure


def _estimates(figure: go.Figure, table: pd.DataFrame, x: str, name: str, colour: str, label: str) -> None:
    """A curve with error bars from its interval's ends, without points that rest on too few prompts."""
    known = shown(table, name)
    value, low, high = (known[end].to_numpy(np.float64) for end in (name, f"{name}_low", f"{name}_high"))
    figure.add_scatter(
        x=table[x], y=_known(value), mode="lines+markers", name=label, line={"color": colour},
        error_y=_bars(value, low, high),
    )  # fmt: skip


def _known(values: Array) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _bars(value: Array, low: Array, high: Array) -> dict[str, object] | None:
    """Error bars to the ends of intervals; where there is no interval there is no bar."""
    if np.isnan(low).all():
        return None
    return {"array": _known(high - value), "arrayminus": _known(value - low), "thickness": 1, "width": 2}
