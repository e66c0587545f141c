"""A sweep while it runs: what is done, what is running and how far, how long it will take."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from sivgap.errors import SivgapError
from sivgap.runs.sweep_manifest import Progress, State, Sweep
from sivgap.runtime.display import Display
from sivgap.runtime.sanitize import sanitize
from sivgap.runtime.time_left import duration

_EVERY = 1.0
"""Seconds between two looks at the manifest."""

_ROWS = 30
"""Jobs shown at once: those at work first, then those that went wrong."""

_ORDER: tuple[State, ...] = ("running", "killed", "lost", "failed", "stopped", "elsewhere", "waiting", "complete")


@contextmanager
def watching(sweep: Sweep, display: Display) -> Iterator[None]:
    """Show the sweep while the block works on it: a live table on a terminal, elsewhere a line when a job ends."""
    stop = threading.Event()
    live = Live(console=display.console, transient=True, auto_refresh=False) if display.console.is_terminal else None

    def look() -> None:
        known: dict[str, State] = {}
        with suppress(SivgapError):  # a file that cannot be read: whoever works on it will say so
            known = {p.job.identity: p.state for p in sweep.progress()}
        while True:
            last = stop.wait(_EVERY)
            with suppress(SivgapError):
                known = _look(sweep, display, live, known)
            if last:
                return

    thread = threading.Thread(target=look, daemon=True)
    try:
        if live is not None:
            live.start()
        thread.start()
        yield
    finally:
        stop.set()
        thread.join()
        if live is not None:
            live.stop()


def _look(sweep: Sweep, display: Display, live: Live | None, known: dict[str, State]) -> dict[str, State]:
    found = sweep.progress()
    for progress in found:
        before = known.get(progress.job.identity, progress.state)
        if progress.state != before and progress.state not in ("running", "waiting"):
            reason = "" if progress.reason is None or progress.state == "complete" else f" ({progress.reason})"
            display.say(f"{progress.job.name}: {progress.state} after {duration(progress.seconds)}{reason}")
    if live is not None:
        live.update(status_table(found), refresh=True)
    return {p.job.identity: p.state for p in found}


def status_table(found: Sequence[Progress]) -> RenderableType:
    """One row a job, and a line of totals with the time left."""
    table = Table(box=None, pad_edge=False)
    for column in ("job", "state", "epoch", "time", "attempts", "host", ""):
        table.add_column(column)
    ordered = sorted(found, key=lambda p: _ORDER.index(p.state))
    for p in ordered[:_ROWS]:
        last = p.attempts[-1] if p.attempts else None
        table.add_row(
            escape(sanitize(p.job.name)), p.state, "" if p.epoch is None else f"{p.epoch:g}",
            duration(p.seconds) if last else "", str(len(p.attempts) or ""), last.host if last else "",
            escape(sanitize((p.reason or "")[:80])),
        )  # fmt: skip
    return Group(table, Text(totals(found)))


def totals(found: Sequence[Progress]) -> str:
    """``5 of 12 complete, 2 running, about 6 min left``."""
    count = Counter(p.state for p in found)
    parts = [f"{count['complete']} of {len(found)} complete"]
    parts += [f"{count[state]} {state}" for state in _ORDER[:-1] if count[state]]
    spent = [p.seconds for p in found if p.state == "complete" and p.attempts]
    left = len(found) - count["complete"] - count["failed"]
    if spent and left and count["running"]:
        under_way = sum(p.seconds for p in found if p.state == "running")
        seconds = max(0.0, left * sum(spent) / len(spent) - under_way) / count["running"]
        parts.append(f"about {duration(seconds)} left")
    return ", ".join(parts)


def follow(sweep: Sweep, display: Display) -> None:
    """Show the sweep until nothing in it is running; on a terminal alone, elsewhere once."""
    if not display.console.is_terminal:
        display.console.print(status_table(sweep.progress()))
        return
    with Live(console=display.console, auto_refresh=False) as live:
        while True:
            found = sweep.progress()
            live.update(status_table(found), refresh=True)
            if not any(p.state == "running" for p in found):
                return
            time.sleep(_EVERY)
