"""Keys and values of the texts in the rows of a cache, in blocks of positions.

A processor reads ahead: rows without gaps between them come two to three times as fast as those whose unused places lie
between. So a block has its rows side by side, and is no longer than what was said before it; it is allocated when the
first text comes to it, and what is never said takes no memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from sivgap.runtime.hardware import return_much_freed_memory

_FIRST = {"cpu": 16}
_FIRST_ELSEWHERE = 128
"""Positions in the first block, and in the second; each later one doubles the whole. A GPU pays for each block, not for
gaps."""

Index = tuple[slice | Tensor, slice, slice | Tensor]
"""Rows, heads and positions of states (rows, heads, positions, dim)."""


@dataclass(frozen=True)
class Part:
    """Where a block takes some of the states that come in one pass: `block[target] = states[source]`."""

    block: int
    target: Index
    source: Index


class TextBlocks:
    """Room for `rows` texts of at most `capacity` tokens.

    Args:
        like: Of each layer its keys, of shape (any, heads, any, dim).
    """

    def __init__(self, like: Sequence[Tensor], rows: int, capacity: int) -> None:
        self._empty = [keys[:0] for keys in like]
        self._rows = rows
        first = _FIRST.get(like[0].device.type, _FIRST_ELSEWHERE)
        self._bounds = [0, min(first, capacity)]
        while self._bounds[-1] < capacity:
            self._bounds.append(min(2 * self._bounds[-1], capacity))
        self._blocks: list[list[tuple[Tensor, Tensor]]] = []

    @property
    def nbytes(self) -> int:
        return sum(states.nbytes for block in self._blocks for layer in block for states in layer)

    def parts(self, live: slice, slots: Tensor, least: int, most: int) -> list[Part]:
        """Where the next states of the rows `live` go, whose positions are `slots`, (rows, new); `least` and `most` are
        the least and the most of the first ones."""
        new = slots.shape[1]
        self._reach(most + new)
        found = []
        for block, (begin, end) in enumerate(pairwise(self._bounds)):
            if end <= least or begin >= most + new:
                continue
            if least == most:
                into = slice(max(begin, most) - begin, min(end, most + new) - begin)
                taken = slice(max(begin, most) - most, min(end, most + new) - most)
                found.append(Part(block, (live, slice(None), into), (slice(None), slice(None), taken)))
            else:
                row, which = ((slots >= begin) & (slots < end)).nonzero(as_tuple=True)
                into_slots = slots[row, which] - begin
                found.append(Part(block, (row + live.start, slice(None), into_slots), (row, slice(None), which)))
        return found

    def _reach(self, width: int) -> None:
        while self._bounds[len(self._blocks)] < width:
            return_much_freed_memory()  # holes of what came and went since the last block, too small for this one
            begin, end = self._bounds[len(self._blocks) :][:2]
            shapes = [(self._rows, keys.shape[1], end - begin, keys.shape[3]) for keys in self._empty]
            pairs = zip(self._empty, shapes, strict=True)
            self._blocks.append([(keys.new_zeros(shape), keys.new_zeros(shape)) for keys, shape in pairs])

    def write(self, layer: int, parts: Sequence[Part], keys: Tensor, values: Tensor) -> None:
        """Store keys and values (rows, heads, new, dim) at their `parts`."""
        for part in parts:
            for stored, states in zip(self._blocks[part.block][layer], (keys, values), strict=True):
                stored[part.target] = states[part.source]

    def read(self, layer: int, live: slice, width: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Keys and values of the first `width` positions, block by block: (rows x heads, positions, dim)."""
        for begin, block in zip(self._bounds, self._blocks, strict=False):
            if begin < width:
                keys, values = (states[live, :, : width - begin].flatten(0, 1) for states in block[layer])
                yield keys, values

    def copy(self, source: Tensor, target: Tensor, width: int) -> None:
        """Copy the first `width` positions of the rows `source`; all are read before one is written."""
        for begin, block in zip(self._bounds, self._blocks, strict=False):
            for states in (states for layer in block for states in layer if begin < width):
                text = states[:, :, : width - begin]
                text.index_copy_(0, target, text.index_select(0, source))
