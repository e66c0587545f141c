"""A page: one self-contained file. Everything in it is escaped but the charts' library and their data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from sivgap.report.tables import cells
from sivgap.runtime.sanitize import sanitize


@dataclass(frozen=True)
class Chart:
    """A plotly figure and what it shows in a sentence."""

    figure: go.Figure
    caption: str


def blank(x: str, y: str) -> go.Figure:
    """An empty chart with titles at its axes; the page colours text and grid by its theme."""
    clear = "rgba(0,0,0,0)"
    figure = go.Figure()
    figure.update_layout(
        template="none", paper_bgcolor=clear, plot_bgcolor=clear, margin={"l": 55, "r": 10, "t": 10, "b": 45},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, height=380, hovermode="closest",
    )  # fmt: skip
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=y)
    return figure


def render(
    shown: Sequence[Chart],
    tables: Sequence[tuple[str, pd.DataFrame]],
    examples_title: str = "Answers at the last measurement, held out",
    **parts: Any,
) -> str:
    """The page with the `parts` that ``page.html.j2`` names."""
    environment = Environment(
        loader=PackageLoader("sivgap.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.finalize = _visible
    data = json.dumps([json.loads(chart.figure.to_json()) for chart in shown], allow_nan=False)
    return environment.get_template("page.html.j2").render(
        **parts,
        examples_title=examples_title,
        charts=shown,
        tables=[{"title": title, "header": list(t.columns), "rows": cells(t)} for title, t in tables],
        plotly_js=Markup(get_plotlyjs().replace("</script", "<\\/script")),  # noqa: S704 - the library itself
        charts_json=Markup(data.replace("<", "\\u003c")),  # noqa: S704 - JSON; no tag can end or begin in it
    )


def _visible(value: Any) -> Any:
    return sanitize(value) if isinstance(value, str) and not isinstance(value, Markup) else value
