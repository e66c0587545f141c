"""Tables of runs, as CSV and Markdown. Text that a spreadsheet would take for a formula is disarmed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from sivgap.gap.estimate import FEWEST, count_column, too_few
from sivgap.runtime.files import write_text
from sivgap.runtime.sanitize import no_formula, sanitize

if TYPE_CHECKING:
    from sivgap.dynamics.fit import Estimate
    from sivgap.report.record import Record

_SHOWN = (
    "epoch", "solver_uncertainty", "verifier_uncertainty", "gap", "solver_accuracy", "verifier_accuracy",
    "likeliest_accuracy", "score_gain", "gv_gap", "gv_gap_informative", "gv_gap_aggregate_relative", "gv_gap_relative",
    "saturated_fraction", "youden_j", "score_auroc_within", "score_auroc_within_informative", "score_auroc",
    "likelihood_auroc_within", "likelihood_auroc", "solver_length", "chosen_cut_fraction", "train_loss",
)  # fmt: skip


def trajectory_table(record: Record, split: str = "test") -> pd.DataFrame:
    """The measurements of one panel, the columns that a reader asks for first."""
    frame = pd.DataFrame(record.of(split))
    passes = pd.DataFrame(list(frame["pass_at_k"])).dropna(axis=1, how="all").add_prefix("pass@")
    return pd.concat([frame[[c for c in _SHOWN if c in frame]], passes], axis=1)


def runs_table(records: Sequence[Record]) -> pd.DataFrame:
    """One row a run: what it was, where it began and ended on the held-out panel, and the fitted law."""
    from sivgap.report.summary import fit_if_possible  # lmfit, which pages of a curve do not need

    rows = []
    for record in records:
        lines = record.of("test")
        first, last, fit = lines[0], lines[-1], fit_if_possible(lines, record.name)
        rows.append(
            {
                "run": record.name,
                "state": record.status.get("state"),
                "seed": record.config.get("seed"),
                "epochs": last["epoch"],
                "solver before": first["solver_accuracy"],
                "solver after": last["solver_accuracy"],
                "best-of-N before": first["verifier_accuracy"],
                "best-of-N after": last["verifier_accuracy"],
                "U_s before": first["solver_uncertainty"],
                "U_s after": last["solver_uncertainty"],
                "gap before": first["gap"],
                "gap after": last["gap"],
                "rate": None if fit is None else fit.parameters["rate"].value,
                "R² U_s": None if fit is None else fit.r2["solver"],
                "R² U_v": None if fit is None else fit.r2["verifier"],
                "seconds": record.status.get("seconds"),
            }
        )
    return pd.DataFrame(rows)


def estimates_table(estimates: Mapping[str, Estimate]) -> pd.DataFrame:
    """One row a parameter: its value, standard error, its interval, and that of this panel where it is another."""
    rows = [
        {"": name.replace("_", " "), "value": e.value, "stderr": e.stderr, "low (90 %)": e.low, "high (90 %)": e.high,
         "low, this panel": e.panel_low, "high, this panel": e.panel_high}
        for name, e in estimates.items()
    ]  # fmt: skip
    alike = all((e.low, e.high) == (e.panel_low, e.panel_high) for e in estimates.values())
    return pd.DataFrame(rows).iloc[:, : 5 if alike else 7]


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write ``path.csv`` and ``path.md``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path.with_suffix(".csv"), frame.map(_disarmed).rename(columns=_disarmed).to_csv(index=False))
    write_text(path.with_suffix(".md"), markdown(list(map(str, frame.columns)), cells(frame)))


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    head, *body = ["| " + " | ".join(map(_in_markdown, row)) + " |" for row in (header, *rows)]
    return "\n".join([head, "|" + "---|" * len(header), *body]) + "\n"


def _in_markdown(cell: str) -> str:
    """A cell that ends neither its row nor its table, and holds no tag."""
    return sanitize(" ".join(cell.split())).replace("|", "\\|").replace("<", "&lt;")


def cells(frame: pd.DataFrame) -> list[list[str]]:
    """Every value as text: numbers to four digits, nothing for what does not exist, and in place of a number that rests
    on too few prompts (its column has another, ``_informative``) that it does."""
    text = [["" if pd.isna(v) else f"{v:.4g}" if isinstance(v, float) else str(v) for v in row]
            for row in frame.itertuples(index=False)]  # fmt: skip
    for place, name in enumerate(map(str, frame.columns)):
        if name.endswith(("_se", "_low", "_high", "_informative")):
            continue
        counts = f"{name}_informative" if f"{name}_informative" in frame else count_column(name)
        if counts in frame:
            for row, count in zip(text, frame[counts], strict=True):
                if count < FEWEST:
                    row[place] = too_few(int(count))
    return text


def shown(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Column `name` and its interval's ends, missing where it rests on too few prompts."""
    columns = frame[[name, f"{name}_low", f"{name}_high"]].astype(float)
    if f"{name}_informative" not in frame:
        return columns
    return columns.mask(frame[f"{name}_informative"] < FEWEST)


def _disarmed(value: object) -> object:
    return no_formula(sanitize(value)) if isinstance(value, str) else value
