"""The report of a table of models, published or one's own: gaps over FLOPs and accuracy (MG Fig. 1, Tables 3, 4)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sivgap.gap.scaling import gap_columns, read_models, scaling_table
from sivgap.published import NAMES, published
from sivgap.report.models_figure import draw_models
from sivgap.report.page import page_of_models
from sivgap.report.tables import write_table
from sivgap.runtime.files import write_text


def report_models(name: str, out: Path) -> Path:
    """Write tables, figures and a page on the models of a CSV, or of a published table, to `out`/NAME.

    Raises:
        ConfigError: If it cannot be read.
    """
    path = published(name)
    models = read_models(path)
    where = out / path.stem
    lines = scaling_table(models)
    columns = ["model", "parameters", "tokens", "flops", "accuracy", *gap_columns(models)]
    write_table(models[columns], where / "tables" / "models")
    write_table(lines, where / "tables" / "scaling")
    draw_models(models, where / "figures" / "models.png")
    title = f"{path.stem} (Mind the Gap, arXiv 2412.02674)" if name in NAMES else path.stem
    tables = [
        ("What a tenfold of FLOPs brings, and what is left of it given accuracy", lines),
        ("Models", models[columns]),
    ]
    write_text(where / "report.html", page_of_models(title, models, tables, _said(lines)))
    return where / "report.html"


def _said(lines: pd.DataFrame) -> list[str]:
    """Whether FLOPs say anything of a gap, and anything beyond the accuracy that they bring."""
    said = []
    for line in lines.to_dict("records"):
        slope, low, high = (100 * line[f"slope{end}"] for end in ("", "_low", "_high"))
        text = (
            f"{line['gap']}: a tenfold of FLOPs brings {slope:+.1f} points (90 % over models {low:+.1f} to {high:+.1f})"
        )
        r, least, most = (line[f"r_given_accuracy{end}"] for end in ("", "_low", "_high"))
        if r is not None and least is not None and most is not None:
            more = "something" if least > 0 or most < 0 else "nothing that can be told apart from chance"
            text += f"; given accuracy they add {more} (r {r:+.2f}, {least:+.2f} to {most:+.2f})"
        said.append(f"{text}.")
    return said
