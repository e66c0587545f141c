"""The examples of a step in portions that fit into memory."""

from __future__ import annotations

from collections.abc import Sequence

from sivgap.core.example import Example
from sivgap.models.packing import beginning


def micro_batches(examples: Sequence[Example], size: int, tokens: float) -> list[list[Example]]:
    """Portions of at most `size` examples that have at most `tokens` tokens together, or are one; the longest examples
    first: what does not fit shows at once. What a prompt begins with as the one before it does is read once.

    A step that fits as a whole keeps its order.
    """
    if len(examples) <= size and _read(examples) <= tokens:
        return [list(examples)] if examples else []
    portions: list[list[Example]] = []
    for example in sorted(examples, key=lambda example: example.tokens, reverse=True):
        if portions and len(portions[-1]) < size and _read([*portions[-1], example]) <= tokens:
            portions[-1].append(example)
        else:
            portions.append([example])
    return portions


def _read(examples: Sequence[Example]) -> int:
    """Tokens that a pass over `examples` computes."""
    count = 0
    before: tuple[int, ...] = ()
    for example in examples:
        texts = 2 if example.rejected else 1
        shared = beginning(before, example.prompt, min(len(before), len(example.prompt)))
        count += example.tokens - shared - (texts - 1) * len(example.prompt)
        before = example.prompt
    return count
