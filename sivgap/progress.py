"""What a user watches: a bar a phase, one line a measurement, a table at the end; and every half minute a line.

All of it goes to standard error. Where that is no terminal there are no bars: a line at least every `EVERY` seconds
says what is being done, how far it is, how fast, and how long the whole run will still take. The run's log has these
lines in either case.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column, Table
from rich.text import Text

from sivgap.phase import Phase
from sivgap.plain import visible
from sivgap.time_left import TimeLeft, until_end

if TYPE_CHECKING:
    from sivgap.dynamics.fit import CoupledFit

_log = logging.getLogger("sivgap")

Line = dict[str, Any]
Advance = Callable[[float, int], None]
"""Called with items done (a fraction of those under way counts) and tokens generated since the last call."""

EVERY = 30.0
"""Seconds between two lines at most (CONTRACT)."""

FIRST = 5.0
"""Seconds until the first line of a command, and until the first rate is told."""

_LOOK = 1.0
"""Seconds between two looks at whether there is something to say."""

_REDRAW = 0.1
"""Seconds between two looks of a bar; it is told of progress at every step of sampling."""

_WIDE = 110
"""Columns of a terminal from which on there is room for a long bar."""

_LOG_WIDTH = 120
"""Columns for tables where there is no terminal to ask."""


class Display:
    """The terminal of one run; nothing is shown on it if `quiet`.

    Attributes:
        left: What is still to come of the run; where nothing is planned there, a phase is taken for all of it.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=quiet)
        if not self.console.is_terminal:
            self.console.width = max(self.console.width, _LOG_WIDTH)
        self.left = TimeLeft()
        self._phase: Phase | None = None
        self._due, self._told_rate = time.monotonic() + FIRST, False

    def say(self, text: str) -> None:
        """One line, on the terminal and in the run's log."""
        text = visible(text)
        self._due = time.monotonic() + EVERY
        _log.info(text)
        self.console.print(escape(text))

    @contextmanager
    def phase(
        self, what: str, total: float | None, unit: str = "prompts", kind: str = "", each: float = 1.0
    ) -> Iterator[Advance]:
        """A bar, and lines, for `total` items of work; None where nobody knows how much it is.

        Args:
            what: What a reader is told that is being done.
            total: How many items.
            unit: What an item is.
            kind: What `left` has planned this work as.
            each: Units of that kind in an item.
        """
        phase, over = Phase(what, total, unit, kind, each), threading.Event()
        self._phase = phase
        watch = threading.Thread(target=self._watch, args=(phase, over), daemon=True)
        try:
            if not self.console.quiet:
                watch.start()
            with self._bar(phase) as advance:
                yield advance
            phase.done = total or 0.0  # it came to its end, whatever it was told
        finally:
            over.set()
            if watch.is_alive():
                watch.join()
            self._phase = None
            if kind:
                self.left.took(kind, phase.done * each, phase.elapsed)

    @contextmanager
    def _bar(self, phase: Phase) -> Iterator[Advance]:
        """What is to be called as `phase` goes on; the bar of a terminal moves with it."""
        terminal = self.console.is_terminal and not self.console.quiet
        columns = (
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=8 if self.console.width < _WIDE else 28),
            _Numbers(phase, self),
        )
        with Progress(*columns, console=self.console, transient=True, disable=not terminal) as bars:
            task = bars.add_task(escape(visible(phase.what)), total=phase.total)
            drawn = 0.0

            def advance(done: float, tokens: int = 0) -> None:
                nonlocal drawn
                phase.advance(done, tokens)
                if terminal and (now := time.monotonic()) - drawn >= _REDRAW:
                    drawn = now
                    bars.update(task, completed=phase.done)

            yield advance

    def _watch(self, phase: Phase, over: threading.Event) -> None:
        """Say how far `phase` is whenever nothing has been said for long, and once when the first rate is known; the
        thread that works may be busy for minutes with one step."""
        while not over.wait(min(_LOOK, max(0.05, self._due - time.monotonic()))):
            rate_is_known = not self._told_rate and phase.elapsed >= FIRST and bool(phase.rate())
            if time.monotonic() >= self._due or rate_is_known:
                self._told_rate = self._told_rate or bool(phase.rate())
                text = visible(phase.line(self.until(phase)))
                self._due = time.monotonic() + EVERY
                _log.info(text)
                if not self.console.is_terminal:
                    self.console.print(escape(text))

    def until(self, phase: Phase | None = None) -> str:
        """``about 12 min left`` of the whole run, with `phase` (or the one under way) as far as it is. Where no run is
        planned, of the phase at its own pace. Nothing while nobody knows."""
        phase = phase or self._phase
        here = (phase.kind, phase.done * phase.each, phase.elapsed) if phase is not None and phase.kind else ()
        if self.left.planned:
            return until_end(self.left.seconds(*here))
        return "" if phase is None else until_end(phase.left(), " of this phase")

    def measurement(self, line: Line, epochs: float) -> None:
        """One line for one measurement of the held-out panel."""
        until = self.until() if line["epoch"] < epochs else ""
        self.say(
            f"epoch {line['epoch']:5.2f}/{epochs:g}  U_s {line['solver_uncertainty']:6.3f}  "
            f"U_v {line['verifier_uncertainty']:6.3f}  gap {line['gap']:6.3f}  "
            f"solver {accuracy_of_all(line):6.1%}  "
            f"best-of-{line['n_samples']} {line['verifier_accuracy']:6.1%}" + (f"   {until}" if until else "")
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


class _Numbers(ProgressColumn):
    """How far a phase is, how fast, and how long the whole run will still take."""

    max_refresh = 0.5

    def __init__(self, phase: Phase, display: Display) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._of, self._display = phase, display

    def render(self, task: Task) -> Text:
        return Text(self._of.numbers(self._display.until(self._of)))


def accuracy_of_all(line: Line) -> float:
    """Accuracy of all N samples of a measurement (pass@1), which has less noise than the first response's (SV Eq. 4);
    that one where pass@1 was not measured."""
    found = line["pass_at_k"].get("1")
    return float(line["solver_accuracy"] if found is None else found)


_ROWS = (
    ("U_s, one response (nats)", "solver_uncertainty"),
    ("U_v, chosen response (nats)", "verifier_uncertainty"),
    ("gap U_s - U_v (nats)", "gap"),
    ("solver accuracy, all N samples", "pass@1"),
    ("solver accuracy, first response", "solver_accuracy"),
    ("best-of-N accuracy", "verifier_accuracy"),
    ("best-of-N without the score", "likeliest_accuracy"),
    ("what the score adds", "score_gain"),
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
    for column in (f"epoch {first['epoch']:g}", f"epoch {last['epoch']:g}", "change"):
        table.add_column(column, justify="right")
    first, last = ({**line, "pass@1": line["pass_at_k"].get("1")} for line in (first, last))
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
