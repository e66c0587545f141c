"""How many threads a processor's work gets: as many as are fastest here and now, measured in a moment.

Two threads were 1.9 times faster than one on an idle machine of two cores, and ten times slower on a busy one, where
each operation waits for the thread that is not on a core. Sums depend on the number of threads by rounding alone (two
in place of one changed no sample of an epoch, and mean scores by 4e-10); so that a run goes on to the same numbers, it
keeps the number that it began with.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch

from sivgap.config.schema import SolverConfig
from sivgap.models.shape import Shape, shape_of
from sivgap.parallel.group import ALONE, Group

CLEARLY = 0.9
"""More threads must take at most this share of the time of fewer: they are taken from others."""
BUDGET = 0.2
"""Seconds of measuring, unless one round of all numbers takes longer."""
ROUNDS = 64
_WIDEST = 1024, 2048
_WORK = 2**27
"""FLOPs of one measurement, a few thousandths of a second, and the widest layer in it."""


def settle_threads(config: SolverConfig, status: Mapping[str, Any], group: Group = ALONE) -> str:
    """Set torch's threads: ``engine.threads``, else those in `status` of an earlier attempt, else the fastest number.

    All ranks of `group` take the first one's number, since what they compute alike must be alike to the last bit. With
    a GPU the processor has little to do, and torch's choice is shared out.

    Returns:
        Where the number is from: ``set``, ``torch``, ``kept`` or ``measured``.
    """
    most = max(1, _allowed() // group.here)
    kept = status.get("hardware", {}).get("threads")
    number, source = most, "torch"
    if config.engine.threads:
        number, source = config.engine.threads, "set"
    elif most > 1 and not torch.cuda.is_available():
        number, source = (kept, "kept") if kept in range(1, most + 1) else (_measured(config, most, group), "measured")
    torch.set_num_threads(number)
    return source


@cache
def _allowed() -> int:
    """Torch's own choice: cores, unless the environment (OMP_NUM_THREADS) says otherwise."""
    return torch.get_num_threads()


def _measured(config: SolverConfig, most: int, group: Group) -> int:
    seconds = measure(shape_of(config.model), config.engine.batch_size, most)
    return int(group.gather(str(fewest(seconds)).encode())[0])


def fewest(seconds: Mapping[int, float]) -> int:
    """Of the numbers of threads that are clearly faster than all smaller ones, the largest.

    Args:
        seconds: What the same work took with each number.
    """
    found = min(seconds)
    for number in sorted(seconds):
        if seconds[number] <= CLEARLY * seconds[found]:
            found = number
    return found


@torch.inference_mode()
def measure(shape: Shape, rows: int, most: int) -> dict[int, float]:
    """Seconds of a layer's products and a softmax, at most `rows` responses at once, with 1, 2, 4, ... `most` threads.

    In turns, so that what else happens on the machine meets all alike.
    """
    hidden, inner = min(shape.hidden, _WIDEST[0]), min(shape.inner, _WIDEST[1])
    text = torch.ones(min(rows, max(16, _WORK // (4 * hidden * inner))), hidden)
    up, down = torch.ones(inner, hidden), torch.ones(hidden, inner)
    numbers = sorted({2**k for k in range(most.bit_length())} | {most})
    spent = dict.fromkeys(numbers, 0.0)
    began = time.perf_counter()
    for turn in range(-1, ROUNDS):  # the first one starts the threads, and does not count
        for number in numbers:
            torch.set_num_threads(number)
            started = time.perf_counter()
            torch.nn.functional.linear(torch.nn.functional.linear(text, up), down).softmax(-1)
            spent[number] += (time.perf_counter() - started) * (turn >= 0)
        if turn >= 0 and time.perf_counter() - began > BUDGET:
            break
    return spent
