"""Progress of sampling: every step, so that a signal is heard, and responses as they end, so that they can be kept
whatever happens to the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from sivgap.core.rollout import OnBatch, OnResponses, Rollouts

EVERY = 20.0
"""Seconds between two reports of responses that ended: what a kill may lose of them."""

Ended = Callable[[NDArray[np.bool_]], "tuple[NDArray[np.int64], Rollouts] | None"]
"""Responses that have ended, but for those that are marked: their numbers, and them; None where there are none."""


class Listener:
    """Tells `on_batch` of every step; what it raises ends the work.

    Args:
        count: Responses that are sampled.
        samples: Of these to each prompt.
        longest: Tokens that a response may have.
    """

    def __init__(
        self,
        on_batch: OnBatch | None,
        on_responses: OnResponses | None = None,
        count: int = 0,
        samples: int = 1,
        longest: int = 1,
    ) -> None:
        self._on_batch, self._on_responses = on_batch, on_responses
        self._places = samples * longest
        self._reported = np.zeros(count, dtype=bool)
        self._last = time.monotonic()

    def step(self, drawn: int, spared: int) -> None:
        """So many tokens were drawn, and those that ended will not draw the `spared` ones."""
        if self._on_batch is not None:
            self._on_batch((drawn + spared) / self._places, drawn)

    def verdict(self, drawn: int) -> None:
        """So many tokens of verdicts were drawn."""
        if self._on_batch is not None:
            self._on_batch(0.0, drawn)

    def judged(self, count: float) -> None:
        """So many verdicts were read off, a fraction of those under way."""
        if self._on_batch is not None:
            self._on_batch(count, 0)

    def check(self) -> None:
        """Nothing was drawn, but time has passed."""
        self.verdict(0)

    @contextmanager
    def keeping(self, ended: Ended) -> Iterator[None]:
        """Within, responses that `ended` are reported before an exception leaves."""
        try:
            yield
        except BaseException:
            self._report(ended)
            raise

    def report_if_due(self, ended: Ended) -> None:
        if self._on_responses is not None and time.monotonic() - self._last > EVERY:
            self._report(ended)

    def _report(self, ended: Ended) -> None:
        if self._on_responses is None:
            return
        found = ended(self._reported)
        if found is not None:
            numbers, rollouts = found
            self._reported[numbers] = True
            self._on_responses(numbers, rollouts)
        self._last = time.monotonic()
