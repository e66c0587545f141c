"""What the backward pass needs again: how much it is a token, and how much there may be at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

ON_A_PROCESSOR = 2 * 2**30
"""Bytes: a few hundred tokens of a model of half a billion parameters, enough for its products to be fast."""
OF_FREE = 0.8
"""Share of a GPU's free memory; a pass that needs more all the same is tried again in less."""


def room(device: torch.device) -> float:
    """Bytes that activations may take at once."""
    return OF_FREE * torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float(ON_A_PROCESSOR)


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
