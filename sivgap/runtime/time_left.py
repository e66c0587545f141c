"""How long a run will still take, from what its work has cost so far."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping


class TimeLeft:
    """Work that is still to come, by kind, and what a unit of each kind has taken.

    A kind of which nothing has been done yet counts as much a unit as all others together, or as many times that as was
    estimated: the first line of a long run should be of the right order, and every later one is better.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._to_come: dict[str, float] = {}
        self._costs: dict[str, float] = {}
        self._done: dict[str, float] = defaultdict(float)
        self._seconds: dict[str, float] = defaultdict(float)

    def plan(self, to_come: Mapping[str, float], costs: Mapping[str, float] | None = None) -> None:
        """All the work from here to the end of the run, in units of each kind; `costs`: estimates of how long a unit
        takes beside one of the other kinds, 1 where there is none."""
        with self._lock:
            self._to_come, self._costs = dict(to_come), dict(costs or {})

    @property
    def planned(self) -> bool:
        return bool(self._to_come)

    def took(self, kind: str, amount: float, seconds: float) -> None:
        """`amount` units of `kind` were done in `seconds`."""
        with self._lock:
            self._done[kind] += amount
            self._seconds[kind] += seconds
            self._to_come[kind] = self._to_come.get(kind, 0.0) - amount

    def seconds(self, kind: str = "", amount: float = 0.0, elapsed: float = 0.0) -> float | None:
        """Seconds to the end, with `amount` units of `kind` done in the `elapsed` seconds of a phase under way.

        None as long as nothing has been done, and where nothing was planned.
        """
        with self._lock:
            to_come, done, seconds = dict(self._to_come), self._done.copy(), self._seconds.copy()
            costs = {k: self._costs.get(k, 1.0) for k in to_come}
        if kind in to_come:
            to_come[kind] -= amount
            done[kind] += amount
            seconds[kind] += elapsed
        known = sum(done[k] * costs[k] for k in to_come)
        if not known:
            return None
        usual = sum(seconds[k] for k in to_come) / known
        each = {k: seconds[k] / done[k] if done[k] else usual * costs[k] for k in to_come}
        return sum(each[k] * max(0.0, amount) for k, amount in to_come.items())


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3.4 h``."""
    minutes = seconds / 60
    if minutes < 1.5:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def until_end(seconds: float | None, of: str = "") -> str:
    """``about 12 min left``; nothing where it is not known, or where nothing worth waiting for is left."""
    return "" if seconds is None or seconds < 1 else f"about {duration(seconds)} left{of}"
