"""Forecasts of anybody's curves as a table: on the terminal, as files, on a page."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from rich.markup import escape
from rich.table import Table

from sivgap.dynamics.curve_analysis import CurveAnalysis
from sivgap.dynamics.entropy_law import EARLY
from sivgap.runtime.display import Display
from sivgap.runtime.sanitize import sanitize


def curves_table(found: Sequence[CurveAnalysis]) -> pd.DataFrame:
    """One row a run: where it is, where it will be, and where it ends."""
    return pd.DataFrame([_row(one) for one in found])


def _row(found: CurveAnalysis) -> dict[str, object]:
    curve, said = found.curve, found.forecast
    value, low, high = said.limit[0]
    row: dict[str, object] = {
        "run": curve.name,
        "points": len(curve.step),
        "last step": float(curve.step[-1]),
        "last value": float(curve.value[-1]),
    }
    if len(said.step):
        row["to step"] = float(said.step[-1])
        row["forecast"] = float(said.value[0, -1])
        row["90 %"] = _span(float(said.low[0, -1]), float(said.high[0, -1]))
    row["in the end"] = float(value)
    row["90 % "] = _span(float(low), float(high))
    return row


def entropy_table(found: Sequence[CurveAnalysis]) -> pd.DataFrame:
    """The entropy law of every run that logged entropy."""
    rows = []
    for one in found:
        law = one.entropy_law
        if law is not None:
            rows.append(
                {"run": one.curve.name, "a": law.a, "b": law.b, "R²": law.r2, "ceiling": law.ceiling,
                 "90 %": _span(law.low, law.high), f"of the first {EARLY:.0%}": law.early}
            )  # fmt: skip
    return pd.DataFrame(rows)


def members_table(found: Sequence[CurveAnalysis]) -> pd.DataFrame:
    """What each forecast is made of: the weights of its members, and their errors at rolling origins."""
    rows = []
    for one in found:
        said = one.forecast
        for name, weight, error in zip(said.members, said.weights[0], said.errors[0], strict=True):
            member = name.replace("_", " ")
            rows.append(
                {"run": one.curve.name, "member": member, "weight": float(weight), "held-out RMSE": float(error)}
            )
    return pd.DataFrame(rows)


def print_curves(found: Sequence[CurveAnalysis], display: Display) -> None:
    """What to beware of, before any number; then the tables. On standard error."""
    for one in found:
        for sentence in one.named_warnings:
            display.console.print(f"[yellow]beware[/yellow]  {escape(sanitize(sentence))}")
    _print(curves_table(found), f"forecast of {found[0].curve.label}", display)
    law = entropy_table(found)
    if len(law):
        _print(law, "entropy law R = -a exp(H) + b, a second opinion on the ceiling", display)


def _print(frame: pd.DataFrame, title: str, display: Display) -> None:
    table = Table(title=escape(sanitize(title)), title_justify="left")
    for place, column in enumerate(frame.columns):
        table.add_column(column, justify="right" if place else "left", no_wrap=bool(place), overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*(_cell(value) for value in row))
    display.console.print(table)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.4g}"
    return "" if value is None else escape(sanitize(str(value)))


def _span(low: float, high: float) -> str:
    return f"{low:.3g} to {high:.3g}"
