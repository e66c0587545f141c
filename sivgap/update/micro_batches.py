"""The examples of a step in portions that fit into memory."""

from __future__ import annotations

from collections.abc import Sequence

from sivgap.update.example import Example


def micro_batches(examples: Sequence[Example], size: int) -> list[list[Example]]:
    """Portions of at most `size`, the longest examples first: what does not fit shows at once.

    A step that fits as a whole keeps its order.
    """
    if len(examples) <= size:
        return [list(examples)] if examples else []
    ordered = sorted(examples, key=lambda example: example.tokens, reverse=True)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]
