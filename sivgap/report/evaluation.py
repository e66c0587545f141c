"""The report of one evaluation: ``evaluation.json``, tables, a figure and a page in its directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table as Lines

from sivgap.gap.beware import beware, run_settings_of
from sivgap.report.evaluation_figure import draw_evaluation
from sivgap.report.evaluation_record import Evaluation, read_evaluation
from sivgap.report.evaluation_tables import number, summary, tables
from sivgap.report.examples import read_examples
from sivgap.report.page import page_of_evaluation
from sivgap.report.tables import write_table
from sivgap.report.words import about_scores, kept_share, rests_on
from sivgap.runtime.display import Display
from sivgap.runtime.files import write_json, write_text

_SHOWN = (
    ("solver accuracy, all N samples", "solver_accuracy"),
    ("filtered accuracy", "filtered_accuracy"),
    ("gap", "gv_gap"),
    ("relative gap, aggregate", "gv_gap_aggregate_relative"),
    ("relative gap, mean over prompts", "gv_gap_relative"),
    ("prompts with every response right", "saturated_fraction"),
    ("best of N by the verifier", "verifier_accuracy"),
    ("likeliest of N, no score", "likeliest_accuracy"),
    ("what the score adds", "score_gain"),
    ("AUROC of the score, within prompts", "score_auroc_within"),
    ("AUROC of the score, pooled", "auroc"),
    ("AUROC of the likelihood, within prompts", "likelihood_auroc_within"),
    ("AUROC of the likelihood, pooled", "likelihood_auroc"),
    ("unparsed verdicts", "unparsed_fraction"),
    ("Brier score", "brier"),
    ("calibration error", "calibration_error"),
    ("U_s (nats)", "solver_uncertainty"),
)


def report_evaluation(folder: Path, display: Display) -> Path:
    """Write everything that can be said about the evaluation in `folder`; ``evaluation.json`` comes last."""
    found = read_evaluation(folder)
    said, shown = summary(found), tables(found)
    warnings = sentences(found)
    for name, (_, table) in shown.items():
        write_table(table, folder / "tables" / name)
    title = f"{said['generator']} on {said['dataset']}, {said['verifier']} by {said['judge']}"
    size = f"{said['prompts']} prompts x {said['samples']} responses"
    frames = {name: table for name, (_, table) in shown.items()}
    draw_evaluation(frames, f"{title}: {size}", folder / "figures" / "evaluation.png")
    cards = [(label, _card(key, said, found)) for label, key in _SHOWN]
    cards.append(("kept by the score", f"{kept_share(found):.1%}"))
    page = page_of_evaluation(found, title, size, cards, warnings, shown, read_examples(folder))
    write_text(folder / "report.html", page)
    write_json(folder / "evaluation.json", said, folder)
    lines = Lines(title=f"{title}: {size}", title_justify="left")
    lines.add_column("")
    lines.add_column("[90 % interval, population of prompts]", justify="right")
    for label, value in cards:
        lines.add_row(label, value)
    for k, estimate in said["pass_at_k"].items():
        lines.add_row(f"pass@{k}", number(estimate))
    display.console.print(lines)
    for sentence in warnings:
        display.say(f"beware: {sentence}")
    return folder / "report.html"


def _card(key: str, said: dict[str, Any], found: Evaluation) -> str:
    """A number as a card shows it: in words where it alone would mislead."""
    words = about_scores(found)
    if words and key.startswith("gv_gap"):
        return words if key == "gv_gap" else "-"
    if key == "calibration_error":
        return calibration_words(said)
    few = rests_on(found.correct) if key == "auroc" and said[key]["value"] is not None else ""
    return number(said[key]) + (f" ({few})" if few else "")


def calibration_words(said: dict[str, Any]) -> str:
    """The calibration error beside what the plain estimate is, and would be of a calibrated verifier."""
    plain, calibrated = (said[f"calibration_error_{kind}"]["value"] for kind in ("plain", "if_calibrated"))
    expected = "" if calibrated is None else f"; {calibrated:.3f} expected if calibrated"
    return f"{number(said['calibration_error'])} (plain {plain:.3f}{expected})"


def sentences(found: Evaluation) -> list[str]:
    """What a reader might be misled by."""
    said = beware(found.measured, run_settings_of(found.config, found.selection, len(found.correct)))
    empty = found.gap.empty
    if empty:
        said.append(f"of {len(found.correct)} prompts {empty} kept no response (weight.empty says what they count)")
    return said
