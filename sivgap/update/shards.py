"""Weights in training shared out among the ranks: FSDP2, each parameter's rows dealt to all of them.

A rank holds its rows of the weights, of their gradients and of AdamW's moments; a layer is whole only while it is
computed. Of several machines each has all rows. Gradients are summed over ranks, not averaged: what the loss is divided
by is known before (`sft`).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from sivgap.parallel.group import Group


def without_weights(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of `model` that has its parameters in common with it: no memory, until `shard_out` takes a rank's part."""
    return copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})


def shard_out(model: nn.Module, blocks: set[str], group: Group, all_trained: bool) -> None:
    """Replace the parameters of `model` by this rank's rows of them, block by block; those it had are not changed.

    Args:
        model: As `without_weights` returned it, with adapters or without.
        blocks: Names of the classes whose modules are gathered one at a time.
        group: The ranks.
        all_trained: Whether all weights are trained, in single precision; otherwise as their ``requires_grad`` says.
    """
    mesh = _mesh(next(model.parameters()).device.type, group)
    own: dict[int, nn.Parameter] = {}
    for part in [*(m for m in model.modules() if type(m).__name__ in blocks), model]:
        if all_trained:
            _single_precision(part, own)
        sharded = fully_shard(part, mesh=mesh)
        assert isinstance(sharded, FSDPModule)
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)  # gloo knows sums alone


def _mesh(kind: str, group: Group) -> DeviceMesh:
    """Who has which rows: of several machines each has all of them, so that weights are gathered within a machine and
    gradients alone go between machines, an eighth of them for each of eight GPUs.
    """
    if group.here == 1 or group.size % group.here or group.size == group.here:
        return init_device_mesh(kind, (group.size,))
    return init_device_mesh(kind, (group.size // group.here, group.here), mesh_dim_names=("machine", "local"))


def _single_precision(part: nn.Module, own: dict[int, nn.Parameter]) -> None:
    """Trained copies of the parameters of `part` that are still those of another model; tied ones stay tied."""
    for module in part.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not isinstance(parameter, DTensor):
                if id(parameter) not in own:
                    own[id(parameter)] = nn.Parameter(parameter.detach().float())
                setattr(module, name, own[id(parameter)])


def whole(tensor: Tensor) -> Tensor:
    """All rows of a tensor, on every rank; all ranks ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_of(value: Tensor, like: Tensor) -> Tensor:
    """`value` as `like` is kept: on its device, and with this rank's rows alone; nothing goes between ranks."""
    if isinstance(like, DTensor):
        return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
    return value.to(like.device, copy=True)


@torch.no_grad()
def merged(base: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """base + scale * B A of a sharded layer in the precision of `base`, whole on every rank."""
    first = whole(base)
    return (first.float() + (whole(up) @ whole(down) * scale).float()).to(first.dtype)
