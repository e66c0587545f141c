"""Whether two mathematical answers are equal, in worker processes that can be killed.

Answers come from models and strangers. Parsers will try to evaluate ``9^{9^{9^9}}`` and recursion eats the stack, so
every text is capped before it is parsed, every comparison has a deadline that kills its process, and the process has a
memory limit. Numbers, and texts that are the same, are compared without a process.
"""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FuturesTimeoutError
from contextlib import contextmanager

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from sivgap.grading.latex import LONGEST_ANSWER
from sivgap.grading.limits import acceptable
from sivgap.grading.number import Number, read_number, same_number

DEADLINE = 5.0
"""Seconds for one comparison, in a worker that has imported sympy. Ordinary ones take a thousandth of it."""
WORKER_MEMORY = 4 * 2**30
"""Bytes of address space of a worker."""


def compare(gold: str, answer: str) -> bool:
    """Equality of two answers, bare or inside a whole response. Runs in a worker: it may hang or die."""
    from sivgap.grading.compare import equal_texts
    from sivgap.grading.expression import answer_of

    return equal_texts(answer_of(gold), answer_of(answer))


def canonical(answer: str) -> str:
    """What equal answers share. Runs in a worker as well."""
    from sivgap.grading.votes import vote_key

    return vote_key(answer)


def _limit_worker() -> None:
    import logging
    import resource

    logging.disable(logging.WARNING)
    resource.setrlimit(resource.RLIMIT_AS, (WORKER_MEMORY, WORKER_MEMORY))
    compare("1", r"\sqrt{1}")  # the first call also pays imports; a deadline must not


class AnswerComparer:
    """A pool of killable workers, with a memory of what was asked before. Use `comparer()` to open one."""

    def __init__(self, pool: ProcessPool, deadline: float) -> None:
        self._pool, self._deadline = pool, deadline
        self._known: dict[tuple[str, ...], bool | str | None] = {}
        self._asked: dict[tuple[str, ...], ProcessFuture] = {}
        self._cancelled = False

    def equal(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        """For each (gold, answer): equal or not. What is refused, too slow or crashes its worker is not equal.

        Raises:
            CancelledError: If another thread said `cancel` meanwhile.
        """
        for pair in pairs:
            if pair not in self._known and (known := _at_once(*pair)) is not None:
                self._known[pair] = known
        return [bool(found) for found in self._ask(compare, pairs)]

    def keys(self, answers: Sequence[str | None]) -> list[str | None]:
        """For each answer what it shares with those that equal it; None for none. One that cannot be read is alone
        with those that are written the same.

        Raises:
            CancelledError: If another thread said `cancel` meanwhile.
        """
        numbers = {answer: _number_of(answer) for answer in answers if answer is not None}
        asked = [(answer,) for answer, number in numbers.items() if number is None]
        found = dict(zip(asked, self._ask(canonical, asked), strict=True))

        def key(answer: str) -> str:
            number = numbers[answer]
            said = found.get((answer,)) if number is None else f"=n{number.value}"
            return str(said) if said else f"=?{' '.join(answer.split())}"

        return [None if answer is None else key(answer) for answer in answers]

    def _ask(
        self, question: Callable[..., bool | str | None], asked: Sequence[tuple[str, ...]]
    ) -> list[bool | str | None]:
        """What `question` says to each of `asked`; None where it does not."""
        futures: dict[tuple[str, ...], ProcessFuture] = {}
        for texts in dict.fromkeys(asked):
            if texts in self._known:
                continue
            if not all(acceptable(text[-LONGEST_ANSWER:]) for text in texts):
                self._known[texts] = None
            elif self._cancelled:
                raise CancelledError
            else:
                futures[texts] = self._asked[texts] = self._pool.schedule(question, args=texts, timeout=self._deadline)
        for texts, future in futures.items():
            try:
                said = future.result()
            except CancelledError:
                raise
            except (FuturesTimeoutError, ProcessExpired, MemoryError, RecursionError):
                said = None
            except Exception:  # parsers raise whatever sympy raises; an unreadable answer is not equal
                said = None
            self._known.setdefault(texts, said)  # another thread may have asked the same: its answer stands
            self._asked.pop(texts, None)
        return [self._known[texts] for texts in asked]

    def cancel(self) -> None:
        """Give up what is being compared, from now on: whoever waits for it is told."""
        self._cancelled = True
        for future in list(self._asked.values()):
            future.cancel()


def _at_once(gold: str, answer: str) -> bool | None:
    """What needs no worker: texts that are the same, and two numbers; None for the others."""
    if gold.strip() == answer.strip():
        return bool(gold.strip())
    one, other = _number_of(gold), _number_of(answer)
    if one is None or other is None or (one.places or 0) + (other.places or 0) >= 6:
        return None
    return same_number(one, other)


def _number_of(text: str) -> Number | None:
    """A text of digits and signs alone as a number."""
    if not re.fullmatch(r"-?\d{1,30}(?:\.\d{1,30}|/\d{1,30})?|-?\\[dt]?frac\{\d{1,30}\}\{\d{1,30}\}", text.strip()):
        return None
    return read_number(text, units=False)


@contextmanager
def comparer(workers: int = 2, deadline: float = DEADLINE) -> Iterator[AnswerComparer]:
    """Workers start with the first comparison and end with the block."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPool(max_workers=workers, initializer=_limit_worker, context=context)
    opened = AnswerComparer(pool, deadline)
    try:
        yield opened
    finally:
        opened.cancel()  # a pool that is stopped leaves those who wait waiting
        pool.stop()
        pool.join()
