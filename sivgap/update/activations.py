"""What the backward pass needs again: how much it is a token, and how much there may be at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

ON_A_PROCESSOR = 2**30
"""Bytes of several texts: a few hundred tokens, enough for products to be fast."""
OF_ONE_TEXT = 2 * 2**30
"""Bytes of a text alone; of one that needs more, activations are computed twice."""
OF_FREE = 0.8
"""Share of a GPU's free memory; a pass that needs more all the same is tried again in less."""


def tokens_in_a_pass(device: torch.device, each: float, always: float, longest: int) -> float:
    """Tokens whose activations, of `each` bytes, there is room for at once beside the bytes that a pass `always` keeps;
    fewer than `longest` where there is not even for those of the longest text."""
    if device.type == "cuda":
        return max(0.0, OF_FREE * torch.cuda.mem_get_info(device)[0] - always) / each
    return on_a_processor(each, longest)


def on_a_processor(each: float, longest: float) -> float:
    """As `tokens_in_a_pass`."""
    several = ON_A_PROCESSOR / each
    return max(several, longest) if longest * each <= OF_ONE_TEXT else several


def kept_bytes(model: nn.Module, forward: Callable[[], Tensor]) -> int:
    """Bytes that `forward`, a pass of `model`, keeps for its backward pass, parameters left out."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}
    held: list[Tensor] = []  # lest memory that was given up is taken for that of another

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(kept.values())
