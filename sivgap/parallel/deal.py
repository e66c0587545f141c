"""Which rank does what: work dealt out like cards, so that every rank gets about as much of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def deal(costs: Sequence[int], size: int) -> list[NDArray[np.int64]]:
    """Places of the items of `costs` for each of `size` ranks, ascending.

    Dealt from the dearest down, to and fro (0, 1, 1, 0, 0, 1, ...): the numbers of items differ by at most one, the
    costs by at most the dearest item's.
    """
    order = np.argsort(-np.asarray(costs, dtype=np.int64), kind="stable")
    turn = np.arange(len(order)) % (2 * size)
    owner = np.minimum(turn, 2 * size - 1 - turn)
    return [np.sort(order[owner == rank]) for rank in range(size)]
