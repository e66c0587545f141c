"""What a run says of its measurements on a terminal: a line each, and a table of the first and last at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from sivgap.runtime.display import Display

if TYPE_CHECKING:
    from sivgap.dynamics.fit import CoupledFit

Line = dict[str, Any]


def say_measurement(display: Display, line: Line, epochs: float) -> None:
    """One line for one measurement of the held-out panel, of a run of so many `epochs`."""
    until = display.until() if line["epoch"] < epochs else ""
    display.say(
        f"epoch {line['epoch']:5.2f}/{epochs:g}  U_s {line['solver_uncertainty']:6.3f}  "
        f"U_v {line['verifier_uncertainty']:6.3f}  gap {line['gap']:6.3f}  "
        f"solver {accuracy_of_all(line):6.1%}  "
        f"best-of-{line['n_samples']} {line['verifier_accuracy']:6.1%}" + (f"   {until}" if until else "")
    )


def show_summary(display: Display, lines: Sequence[Line], fit: CoupledFit | None) -> None:
    """First against last measurement of each split, and what the exponential law says."""
    for split in ("train", "test"):
        of_split = [line for line in lines if line["split"] == split]
        if of_split:
            display.console.print(_table(split, of_split[0], of_split[-1]))
    if fit is not None:
        ends = {name: end.value for name, end in fit.limits.items()}
        display.say(
            f"exponential law, one shared rate: {fit.parameters['rate'].value:.3f} an epoch; limits U_s "
            f"{ends['solver']:.3f}, U_v {ends['verifier']:.3f}, gap {ends['gap']:.3f}; R^2 "
            f"{fit.r2['solver']:.3f} / {fit.r2['verifier']:.3f} / {fit.r2['gap']:.3f}"
        )


def accuracy_of_all(line: Line) -> float:
    """Accuracy of all N samples of a measurement (pass@1), which has less noise than the first response's (SV Eq. 4);
    that one where pass@1 was not measured."""
    found = line["pass_at_k"].get("1")
    return float(line["solver_accuracy"] if found is None else found)


_ROWS = (
    ("U_s, one response (nats)", "solver_uncertainty"),
    ("U_v, chosen response (nats)", "verifier_uncertainty"),
    ("gap U_s - U_v (nats)", "gap"),
    ("solver accuracy, all N samples", "solver_accuracy_all"),
    ("solver accuracy, first response", "solver_accuracy"),
    ("best-of-N accuracy", "verifier_accuracy"),
    ("best-of-N without the score", "likeliest_accuracy"),
    ("what the score adds", "score_gain"),
    ("generation-verification gap", "gv_gap"),
    ("relative gap, aggregate", "gv_gap_aggregate_relative"),
    ("verifier AUROC within prompts", "score_auroc_within"),
    ("verifier AUROC, pooled", "score_auroc"),
    ("likelihood AUROC within prompts", "likelihood_auroc_within"),
    ("likelihood AUROC, pooled", "likelihood_auroc"),
    ("response length (tokens)", "solver_length"),
)


def _table(split: str, first: Line, last: Line) -> Table:
    name = {"train": "training panel", "test": "held-out panel"}[split]
    table = Table(title=f"{name}: {first['n_prompts']} prompts x {first['n_samples']} samples", title_justify="left")
    table.add_column("")
    for column in (f"epoch {first['epoch']:g} [90 %]", f"epoch {last['epoch']:g} [90 %]", "change"):
        table.add_column(column, justify="right")
    first, last = (_with_all(line) for line in (first, last))
    for label, key in _ROWS:
        table.add_row(label, _value(first, key), _value(last, key), _change(first.get(key), last.get(key)))
    few = [words for line in (first, last) if (words := _auroc_rests_on(line))]
    if few:
        table.caption, table.caption_justify = f"AUROC {few[-1]}", "left"
    for k, before in first["pass_at_k"].items():
        if before is not None and k != "1":
            after = last["pass_at_k"][k]
            table.add_row(f"pass@{k}", f"{before:.3f}", f"{after:.3f}", _change(before, after))
    return table


def _with_all(line: Line) -> Line:
    """With the accuracy of all N samples, which older runs have as pass@1 alone."""
    over_all = line["pass_at_k"].get("1")
    return {**line, "pass@1": over_all, "solver_accuracy_all": over_all}


def _auroc_rests_on(line: Line) -> str:
    """``rests on 3 right responses`` where these are too few; nothing otherwise, or where there is no AUROC."""
    if line.get("score_auroc") is None or line["pass@1"] is None:
        return ""
    from sivgap.report.words import rests_on_few  # at the end of a run: pandas need not load before

    responses = line["n_prompts"] * line["n_samples"]
    right = round(line["pass@1"] * responses)
    return rests_on_few(right, responses - right)


def _value(line: Line, key: str) -> str:
    if line.get(key) is None:
        return "-"
    from sivgap.gap.estimate import FEWEST, count_column, too_few  # as above
    from sivgap.report.trajectory_figure import interval

    count = line.get(count_column(key))
    if count is not None and count < FEWEST:
        return too_few(count)
    _, (low,), (high,) = interval([line], key)
    return f"{line[key]:.3f}" + (f" [{low:.3f}, {high:.3f}]" if low == low else "")


def _change(before: float | None, after: float | None) -> str:
    return "-" if before is None or after is None else f"{after - before:+.3f}"
