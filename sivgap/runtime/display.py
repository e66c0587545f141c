"""What a user watches: a bar a phase, one line a measurement, a table at the end; and every half minute a line.

All of it goes to standard error. Where that is no terminal there are no bars: a line at least every `EVERY` seconds
says what is being done, how far it is, how fast, and how long the whole run will still take. The run's log has these
lines in either case.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from sivgap.runtime.phase import Phase
from sivgap.runtime.sanitize import sanitize
from sivgap.runtime.time_left import TimeLeft, until_end

_log = logging.getLogger("sivgap")

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
        text = sanitize(text)
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
            task = bars.add_task(escape(sanitize(phase.what)), total=phase.total)
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
                text = sanitize(phase.line(self.until(phase)))
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


class _Numbers(ProgressColumn):
    """How far a phase is, how fast, and how long the whole run will still take."""

    max_refresh = 0.5

    def __init__(self, phase: Phase, display: Display) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._of, self._display = phase, display

    def render(self, task: Task) -> Text:
        return Text(self._of.numbers(self._display.until(self._of)))
