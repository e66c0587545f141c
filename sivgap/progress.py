"""What a user watches: a bar per phase with rate and time left, one line a measurement, a table at the end.

All of it goes to standard error; where that is no terminal, bars are left out and lines stay.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from sivgap.plain import visible

if TYPE_CHECKING:
    from sivgap.dynamics.fit import CoupledFit

_log = logging.getLogger("sivgap")

Line = dict[str, Any]
Advance = Callable[[float, int], None]
"""Called with items done and tokens generated since the last call."""


_LOG_WIDTH = 120
"""Columns for tables where there is no terminal to ask."""


class Display:
    """The terminal of one run; nothing is shown on it if `quiet`."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=quiet)
        if not self.console.is_terminal:
            self.console.width = max(self.console.width, _LOG_WIDTH)

    def say(self, text: str) -> None:
        """One line, on the terminal and in the run's log."""
        text = visible(text)
        _log.info(text)
        self.console.print(escape(text))

    @contextmanager
    def phase(self, what: str, total: int, unit: str = "prompts") -> Iterator[Advance]:
        """A bar for `total` items of work, with tokens per second where any are generated."""
        columns = (
            TextColumn("{task.description:<34}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn(unit),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as bars:
            task = bars.add_task(escape(what), total=total, rate="")
            tokens = 0

            def advance(done: float, generated: int = 0) -> None:
                nonlocal tokens
                tokens += generated
                elapsed = bars.tasks[0].elapsed or 0.0
                rate = f"{tokens / elapsed / 1000:.1f}k tok/s" if generated and elapsed > 0 else ""
                bars.update(task, advance=done, rate=rate)

            yield advance

    def measurement(self, line: Line, epochs: float, left: float | None) -> None:
        """One line for one measurement of the held-out panel."""
        until = "" if left is None else f"   about {duration(left)} left"
        self.say(
            f"epoch {line['epoch']:5.2f}/{epochs:g}  U_s {line['solver_uncertainty']:6.3f}  "
            f"U_v {line['verifier_uncertainty']:6.3f}  gap {line['gap']:6.3f}  "
            f"solver {line['solver_accuracy']:6.1%}  "
            f"best-of-{line['n_samples']} {line['verifier_accuracy']:6.1%}{until}"
        )

    def summary(self, lines: Sequence[Line], fit: CoupledFit | None) -> None:
        """First against last measurement of each split, and what the exponential law says."""
        for split in ("train", "test"):
            of_split = [line for line in lines if line["split"] == split]
            if of_split:
                self.console.print(_table(split, of_split[0], of_split[-1]))
        if fit is not None:
            ends = {name: end.value for name, end in fit.limits.items()}
            self.say(
                f"exponential law, one shared rate: {fit.parameters['rate'].value:.3f} an epoch; limits U_s "
                f"{ends['solver']:.3f}, U_v {ends['verifier']:.3f}, gap {ends['gap']:.3f}; R^2 "
                f"{fit.r2['solver']:.3f} / {fit.r2['verifier']:.3f} / {fit.r2['gap']:.3f}"
            )


_ROWS = (
    ("U_s, one response (nats)", "solver_uncertainty"),
    ("U_v, chosen response (nats)", "verifier_uncertainty"),
    ("gap U_s - U_v (nats)", "gap"),
    ("solver accuracy", "solver_accuracy"),
    ("best-of-N accuracy", "verifier_accuracy"),
    ("best-of-N without the score", "likeliest_accuracy"),
    ("what the score adds", "score_gain"),
    ("verifier AUROC", "score_auroc"),
    ("AUROC of the likelihood", "likelihood_auroc"),
    ("response length (tokens)", "solver_length"),
)


def _table(split: str, first: Line, last: Line) -> Table:
    name = {"train": "training panel", "test": "held-out panel"}[split]
    table = Table(title=f"{name}: {first['n_prompts']} prompts x {first['n_samples']} samples", title_justify="left")
    table.add_column("")
    for column in (f"epoch {first['epoch']:g}", f"epoch {last['epoch']:g}", "change"):
        table.add_column(column, justify="right")
    for label, key in _ROWS:
        table.add_row(label, _value(first, key), _value(last, key), _change(first.get(key), last.get(key)))
    for k, before in first["pass_at_k"].items():
        if before is not None:
            after = last["pass_at_k"][k]
            table.add_row(f"pass@{k}", f"{before:.3f}", f"{after:.3f}", _change(before, after))
    return table


def _value(line: Line, key: str) -> str:
    if line.get(key) is None:
        return "-"
    error = line.get(f"{key}_se")
    return f"{line[key]:.3f}" + (f" ± {error:.3f}" if error is not None else "")


def _change(before: float | None, after: float | None) -> str:
    return "-" if before is None or after is None else f"{after - before:+.3f}"


def duration(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 1.5:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
