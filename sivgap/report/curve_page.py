"""``report.html`` of anybody's curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from sivgap.dynamics.curve_analysis import CurveAnalysis
from sivgap.dynamics.curve_forecast import DESCRIPTIONS
from sivgap.report.colours import NEUTRAL, SOLVER, VERIFIER
from sivgap.report.curve_tables import curves_table, entropy_table, members_table
from sivgap.report.render import Chart, blank, render

_MOST = 24
"""Charts on a page; tables have all runs."""


def page_of_curves(found: Sequence[CurveAnalysis], title: str) -> str:
    """Each curve with its forecast, the tables, and what to beware of, which stands before every number."""
    law = entropy_table(found)
    several = len(found) > 1
    return render(
        title=title,
        subtitle=f"{found[0].curve.label} of {len(found)} run{'s' if several else ''}; {DESCRIPTIONS[found[0].method]}",
        cards=[] if several else _cards(found[0]),
        findings=[],
        warnings=[sentence for one in found for sentence in (one.named_warnings if several else one.warnings)],
        shown=[Chart(_chart(one), f"{one.curve.name}: forecast with 90 % interval") for one in found[:_MOST]],
        tables=[
            ("Forecast", curves_table(found)),
            *([("Entropy law, R = -a exp(H) + b", law)] if len(law) else []),
            ("What the forecast is made of", members_table(found)),
        ],
        examples=[],
        details=[],
    )


def _cards(found: CurveAnalysis) -> list[tuple[str, str]]:
    said = found.forecast
    value, low, high = said.limit[0]
    cards = [(f"last, step {found.curve.step[-1]:g}", f"{found.curve.value[-1]:.4g}")]
    if len(said.step):
        ends = f" [{said.low[0, -1]:.3g}, {said.high[0, -1]:.3g}]"
        cards.append((f"step {said.step[-1]:g} (90 %)", f"{said.value[0, -1]:.4g}{ends}"))
    cards.append(("in the end (90 %)", f"{value:.4g} [{low:.3g}, {high:.3g}]"))
    if found.entropy_law is not None and found.entropy_law.holds:
        cards.append(("ceiling by the entropy law", f"{found.entropy_law.ceiling:.4g}"))
    return cards


def _chart(found: CurveAnalysis) -> go.Figure:
    figure, said, known = blank("step", found.curve.label), found.forecast, found.known
    later = known.step > found.curve.step[-1]
    figure.add_scatter(
        x=found.curve.step, y=found.curve.value, mode="markers", name="seen", marker={"color": SOLVER, "size": 5}
    )
    if later.any():
        figure.add_scatter(
            x=known.step[later], y=known.value[later], mode="markers", name="not used",
            marker={"color": SOLVER, "size": 5, "symbol": "circle-open"},
        )  # fmt: skip
    if len(said.step):
        figure.add_scatter(x=said.step, y=said.value[0], mode="lines", name="forecast", line={"color": VERIFIER})
        figure.add_scatter(
            x=np.concatenate([said.step, said.step[::-1]]), y=np.concatenate([said.low[0], said.high[0][::-1]]),
            fill="toself", fillcolor=VERIFIER, opacity=0.15, line={"width": 0}, mode="lines", hoverinfo="skip",
            showlegend=False,
        )  # fmt: skip
    if found.alarm is not None:
        figure.add_vline(x=found.alarm.step, line={"color": NEUTRAL, "dash": "dot"}, annotation_text="collapse")
    return figure
