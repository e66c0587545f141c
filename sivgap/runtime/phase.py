"""One phase of a run: how far it is, how fast, and the line that says so."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from sivgap.runtime.sanitize import sanitize
from sivgap.runtime.time_left import duration

_RATE_OVER = 30.0
"""Seconds over which tokens per second are averaged."""

_LOOK = 1.0
"""Seconds between two values of the token count that are remembered for that."""

_FEW = 100
"""Up to this many items a line shows tenths: 8 prompts of a slow model take minutes each."""


@dataclass
class Phase:
    """Work of `total` items; None where nobody knows how much it is.

    Attributes:
        kind: What `time_left.TimeLeft` calls this work; empty where it is the whole run's.
        each: Units of that kind in an item.
        done: Items, with a fraction for those under way.
    """

    what: str
    total: float | None
    unit: str = "prompts"
    kind: str = ""
    each: float = 1.0
    started: float = field(default_factory=time.monotonic)
    done: float = 0.0
    tokens: int = 0
    _counts: deque[tuple[float, int]] = field(init=False)

    def __post_init__(self) -> None:
        self._counts = deque([(self.started, 0)])

    def advance(self, done: float, tokens: int = 0) -> None:
        """`done` items more and `tokens` more; cheap, it is called at every step of sampling."""
        now = time.monotonic()
        if now - self._counts[-1][0] >= _LOOK:
            self._counts.append((now, self.tokens))
            while now - self._counts[1][0] > _RATE_OVER:  # the first one is at least that old, or the beginning
                self._counts.popleft()
        self.done += done
        self.tokens += tokens

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def left(self) -> float | None:
        """Seconds to the end of this phase at its own pace."""
        if not self.total or self.done <= 0:
            return None
        return self.elapsed * max(0.0, self.total - self.done) / self.done

    def rate(self) -> str:
        """``85 tokens/s`` of late; nothing in work that draws none."""
        since, before = self._counts[0]
        seconds, drawn = time.monotonic() - since, self.tokens - before
        if not drawn or seconds <= 0:
            return ""
        speed = drawn / seconds
        return f"{speed / 1000:.1f}k tokens/s" if speed >= 10_000 else f"{speed:,.0f} tokens/s"

    def count(self) -> str:
        """``3.4 of 8 prompts``; nothing of work without a count."""
        if self.total is None:
            return ""
        done = min(self.done, self.total) + 1e-6  # a sum of many fractions
        tenths = self.total <= _FEW and done % 1 >= 0.1
        shown = f"{int(done * 10) / 10:.1f}" if tenths else f"{int(done):,}"
        return f"{shown} of {self.total:,g} {sanitize(self.unit)}"

    def numbers(self, until: str) -> str:
        """``3.4 of 8 prompts, 85 tokens/s, about 12 min left``, the last of it given; while nobody knows that, for how
        long it has been going on."""
        parts = (self.count(), self.rate(), until or f"{duration(self.elapsed)} so far")
        return ", ".join(part for part in parts if part)

    def line(self, until: str) -> str:
        """``epoch 0: measuring (test): `` and the numbers."""
        return f"{self.what}: {self.numbers(until)}"
