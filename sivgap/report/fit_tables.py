"""A fit as tables and sentences on the terminal."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from sivgap.dynamics.analysis import Analysis
from sivgap.dynamics.fit import Estimate
from sivgap.plain import visible
from sivgap.progress import Display

_ROWS = (
    ("solver_initial", "U_s at epoch 0 (nats)"),
    ("verifier_initial", "U_v at epoch 0 (nats)"),
    ("gap_limit", "gap in the end (nats)"),
    ("rate", "rate (an epoch)"),
    ("beta_over_alpha", "beta / alpha"),
)


def print_fit(found: Analysis, display: Display) -> None:
    """Parameters, limits, the forecast, and what to beware of; on standard error."""
    fit = found.fit if found.cross is None else found.cross
    table = Table(title=f"coupled law, {len(found.runs)} run(s), {len(found.mean.epoch)} epochs", title_justify="left")
    for column in ("", "value", "stderr", "90 % interval"):
        table.add_column(column, justify="left" if not column else "right")
    for name, label in _ROWS:
        table.add_row(label, *_cells(fit.parameters[name]))
    for name in ("solver", "verifier"):
        table.add_row(f"{'U_s' if name == 'solver' else 'U_v'} in the end (nats)", *_cells(fit.limits[name]))
    if found.cross is not None:
        table.add_row(f"gamma, form '{found.cross.form}'", *_cells(found.cross.parameters["gamma"]))
    display.console.print(table)
    display.say(f"R^2: solver {fit.r2['solver']:.3f}, verifier {fit.r2['verifier']:.3f}, gap {fit.r2['gap']:.3f}")
    said = found.forecast
    if len(said.epoch):
        ahead = Table(title=f"forecast ({found.runs[0].name})", title_justify="left")
        for column in ("", f"epoch {said.epoch[-1]:g}", "90 % interval", "in the end", "90 % interval "):
            ahead.add_column(column, justify="left" if not column else "right")
        for i, name in enumerate(("U_s", "U_v", "gap")):
            value, low, high = said.value[0, i, -1], said.low[0, i, -1], said.high[0, i, -1]
            end = said.limit[0, i]
            ahead.add_row(
                name, f"{value:.3f}", f"{low:.3f} to {high:.3f}", f"{end[0]:.3f}", f"{end[1]:.3f} to {end[2]:.3f}"
            )
        display.console.print(ahead)
    for sentence in found.warnings:
        display.console.print(f"[yellow]beware[/yellow]  {escape(visible(sentence))}")


def _cells(estimate: Estimate) -> tuple[str, str, str]:
    def text(value: float | None) -> str:
        return "?" if value is None else f"{value:.4g}"

    interval = f"{text(estimate.low)} to {text(estimate.high)}"
    return text(estimate.value), text(estimate.stderr), interval
