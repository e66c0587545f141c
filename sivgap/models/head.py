"""The output head of a causal language model, applied only where a likelihood is wanted.

Logits are the largest tensor of a training step: with a vocabulary of 128 thousand half a megabyte a token, and as much
again for each function of them. Prompts and padding need none, and those of many responses are made part by part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from sivgap.models.packing import Packed

MOST_LOGITS = {"cpu": 2**24}
MOST_LOGITS_ELSEWHERE = 2**26
"""Logits in memory at once: on a processor 64 MiB in float32, and with all that is made of them and their gradients
320; a GPU pays for each part."""


@dataclass(frozen=True)
class OutputHead:
    """The module that makes logits of hidden states.

    Attributes:
        vocabulary: Logits a token.
        last: Whether nothing scales or caps what it makes, as Gemma 2 does.
    """

    module: nn.Module
    vocabulary: int
    last: bool


@torch.no_grad()
def output_head(model: PreTrainedModel) -> OutputHead:
    """Find the head of `model`; a forward pass over a few tokens shows whether it has the last word."""
    module: nn.Module = model.get_output_embeddings()
    made: list[Tensor] = []
    seen = module.register_forward_hook(lambda _, __, logits: made.append(logits))
    try:
        few = torch.arange(8, device=model.device)[None]  # one alone may be the padding, whose logits may be zero
        logits = model(input_ids=few, use_cache=False).logits
    finally:
        seen.remove()
    return OutputHead(module, logits.shape[-1], torch.equal(logits, made[0]))


def token_nll(model: nn.Module, head: OutputHead, texts: Packed) -> Tensor:
    """Negative log-likelihood in nats of the wanted tokens of `texts`, never the first of a text, each given those
    before it: (texts.wanted.sum(),).

    Args:
        model: Reads packed texts, and makes its logits by way of `head`; it may be wrapped.
    """
    before, targets = texts.wanted[:, 1:], texts.ids[texts.wanted]
    inputs = texts.inputs()
    most = MOST_LOGITS.get(targets.device.type, MOST_LOGITS_ELSEWHERE)
    if head.last and len(targets) * head.vocabulary > most:
        rows = max(1, most // head.vocabulary)

        def by_parts(forward: Callable[[Tensor], Tensor], hidden: Tensor) -> Tensor:
            parts = zip(torch.split(hidden[:, :-1][before], rows), torch.split(targets, rows), strict=True)
            return torch.cat([checkpoint(_part, forward, *part, use_reentrant=False) for part in parts])

        with _instead(head.module, by_parts):
            found: Tensor = model(**inputs, use_cache=False).logits
        return found
    chosen = head.module.register_forward_pre_hook(lambda _, given: (given[0][:, :-1][before][None],))
    try:
        logits = model(**inputs, use_cache=False).logits[0]
    finally:
        chosen.remove()
    return functional.cross_entropy(logits.float(), targets, reduction="none")


def _part(forward: Callable[[Tensor], Tensor], hidden: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(forward(hidden).float(), targets, reduction="none")


@contextmanager
def _instead(module: nn.Module, replaced: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]) -> Iterator[None]:
    """Within, `module` does `replaced` (of its own forward and its input), inside the model's pass: where the model is
    sharded its weights are whole there alone."""
    wrapped = module.__dict__.get("forward")
    own = module.forward
    module.forward = lambda given: replaced(own, given)  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        if wrapped is None:
            del module.forward
        else:
            module.forward = wrapped  # type: ignore[method-assign]
