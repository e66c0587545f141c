"""How much memory an engine's work may take at once; with less of it under way, responses and verdicts are the same."""

from __future__ import annotations

import torch

from sivgap.models.shape import Shape

KEYS_AND_VALUES = {"cpu": 3 * 2**28}
"""Bytes of the keys and values of what is under way. A processor is as fast with a hundred rows as with more."""
OF_A_GPU = 0.25
"""Share of a GPU's memory that they may take; of the whole, not of what is free: batches are always the same."""
SCORES = {"cpu": 2**23}
SCORES_ELSEWHERE = 2**26
"""Attention scores (heads x tokens x places) of one pass over texts that go on from others."""
LOGITS = {"cpu": 2**24}
LOGITS_ELSEWHERE = 2**27
"""Logits that are looked at, in float32, at once."""


def keys_and_values(device: torch.device) -> float:
    """Bytes that the keys and values of what is under way may take on `device`."""
    if device.type == "cuda":
        return OF_A_GPU * torch.cuda.get_device_properties(device).total_memory
    return float(KEYS_AND_VALUES.get(device.type, KEYS_AND_VALUES["cpu"]))


def token_bytes(shape: Shape, width: int) -> int:
    """Bytes of the keys and values of one token, of numbers of `width` bytes."""
    return 2 * shape.layers * shape.keys * width


def rows_under_way(most: int, samples: int, tokens: float, each: int, budget: float) -> int:
    """Responses sampled at once: whole prompts of `samples` each, one at least, and at most `most`.

    Args:
        tokens: Of a response at its longest, with its share of its prompt and what is put behind it.
        each: `token_bytes`.
        budget: `keys_and_values`.
    """
    fit = int(budget // max(tokens * each, 1))
    return max(1, min(most, fit) // samples) * samples
