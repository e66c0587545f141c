"""Whether two mathematical answers are equal: `math-verify`, in worker processes that can be killed.

Answers come from models and strangers. Sympy will try to evaluate ``9^{9^{9^9}}`` and recursion eats the stack, so
every text is capped before it is parsed, every comparison has a deadline that kills its process, and the process has a
memory limit.
"""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Iterator
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FuturesTimeoutError
from contextlib import contextmanager

from pebble import ProcessExpired, ProcessFuture, ProcessPool

LONGEST_ANSWER = 4_000
"""Characters read, from the end: the longest gold answer of MATH has 160."""
DEEPEST_NESTING = 30
"""Brackets within brackets; the parser recurses once or more a level."""
LONGEST_DIGITS = 100
"""Digits in a row; integers beyond are no answer and cost quadratic time."""
LARGEST_EXPONENT = 10_000
"""Exponents that are written as digits; towers of powers are refused whatever their size."""
DEADLINE = 5.0
"""Seconds for one comparison, in a worker that has imported sympy. Ordinary ones take a thousandth of it."""
WORKER_MEMORY = 4 * 2**30
"""Bytes of address space of a worker."""

_TOWER = re.compile(
    r"\^\s*\{[^{}]{0,99}\^|\^\s*\w{1,9}\s*\^|\*\*\s*\(?[\w\s]{1,9}\*\*|(?<!\\)!\s*\)?\s*!|\^\s*\{?\s*\(?\s*\d{1,20}!"
)


def acceptable(text: str) -> bool:
    """Whether a text may be given to the parser at all."""
    text = re.sub(r"\s+", " ", text)  # in a long run of spaces the patterns below would try every way to share it out
    depth = deepest = 0
    for character in text:
        depth += (character in "({[") - (character in ")}]")
        deepest = max(deepest, depth)
    exponents = re.findall(r"(?:\^|\*\*)\s*\{?\s*\(?\s*-?(\d+)", text)
    factorials = re.findall(r"(\d+)\s*!", text)
    return (
        deepest <= DEEPEST_NESTING
        and not re.search(rf"\d{{{LONGEST_DIGITS + 1},}}", text)
        and not _TOWER.search(text)
        and all(len(e) <= 6 and int(e) <= LARGEST_EXPONENT for e in exponents)
        and all(len(f) <= 5 and int(f) <= LARGEST_EXPONENT for f in factorials)
    )


def normalise(text: str) -> str:
    """Spelling that the parser does not know, without a change of meaning."""
    text = text.strip()[-LONGEST_ANSWER:].replace("−", "-").replace("°", r"^\circ")
    text = text.replace(r"\$", "")
    text = re.sub(r"(?<!\\)\bsqrt\(([^()]{1,50})\)", r"\\sqrt{\1}", text)
    text = re.sub(r"(?<![\w/.])(\d{1,9})\s+(\d{1,9})/(\d{1,9})(?![\w/.])", r"(\1+\2/\3)", text)
    return re.sub(r"(?<![\w\d)}])\+(?=\d)", "", text)


def compare(gold: str, answer: str) -> bool:
    """Equality of two answers, bare or inside a whole response. Runs in a worker: it may hang or die."""
    from math_verify import parse, verify

    golds, answers = (list(_readings(t, parse)) for t in (gold, answer))
    return any(verify(g, a, timeout_seconds=None) for g in golds for a in answers if g and a)


def _readings(text: str, parse: object) -> Iterator[list[object]]:
    assert callable(parse)
    text = normalise(text)
    bare = "$" not in text and r"\boxed" not in text
    sides = text.split("=")
    if bare and len(sides) == 2 and len(sides[0].strip()) > 3 and "\n" not in text:
        # An equation proper, such as x + y - z + 2 = 0. The parser would keep its right side alone.
        yield parse(f"${sides[0]}-({sides[1]})$", parsing_timeout=None)
        return
    yield parse(text, parsing_timeout=None)
    if bare:
        yield parse(f"${text}$", parsing_timeout=None)


def _limit_worker() -> None:
    import logging
    import resource

    logging.disable(logging.WARNING)
    resource.setrlimit(resource.RLIMIT_AS, (WORKER_MEMORY, WORKER_MEMORY))
    compare("1", "1")  # the first call also pays imports; a deadline must not


class AnswerComparer:
    """A pool of killable workers, with a memory of what was asked before. Use `comparer()` to open one."""

    def __init__(self, pool: ProcessPool, deadline: float) -> None:
        self._pool, self._deadline = pool, deadline
        self._known: dict[tuple[str, str], bool] = {}
        self._asked: dict[tuple[str, str], ProcessFuture] = {}
        self._cancelled = False

    def equal(self, pairs: list[tuple[str, str]]) -> list[bool]:
        """For each (gold, answer): equal or not. What is refused, too slow or crashes its worker is not equal.

        Raises:
            CancelledError: If another thread said `cancel` meanwhile.
        """
        asked = [p for p in dict.fromkeys(pairs) if p not in self._known]
        futures: dict[tuple[str, str], ProcessFuture] = {}
        for gold, answer in asked:
            if gold.strip() == answer.strip():
                self._known[gold, answer] = True
            elif not all(acceptable(text[-LONGEST_ANSWER:]) for text in (gold, answer)):
                self._known[gold, answer] = False
            elif self._cancelled:
                raise CancelledError
            else:
                future = self._pool.schedule(compare, args=[gold, answer], timeout=self._deadline)
                futures[gold, answer] = self._asked[gold, answer] = future
        for pair, future in futures.items():
            try:
                equal = bool(future.result())
            except CancelledError:
                raise
            except (FuturesTimeoutError, ProcessExpired, MemoryError, RecursionError):
                equal = False
            except Exception:  # math-verify raises whatever sympy raises; an unreadable answer is not equal
                equal = False
            self._known.setdefault(pair, equal)  # another thread may have asked the same: its answer stands
            self._asked.pop(pair, None)
        return [self._known[pair] for pair in pairs]

    def cancel(self) -> None:
        """Give up what is being compared, from now on: whoever waits for it is told."""
        self._cancelled = True
        for future in list(self._asked.values()):
            future.cancel()


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
