"""The output head of a causal language model, applied only where a likelihood is wanted.

Logits are the largest tensor of a training step: with a vocabulary of 128 thousand half a megabyte a token, and as much
again for each function of them. Prompts and padding need none, and those of many responses are made part by part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

MOST_LOGITS = 2**27
"""Logits in memory at once: half a GiB in float32."""


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


def padded(
    texts: Sequence[Sequence[int]], counted: Sequence[int], pad: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """What `token_nll` takes: `texts`, of each of which the last `counted` tokens are wanted, as one batch."""
    shape = len(texts), max(map(len, texts))
    ids, mask = torch.full(shape, pad), torch.zeros(shape, dtype=torch.long)
    wanted = torch.zeros(shape, dtype=torch.bool)
    for row, (text, count) in enumerate(zip(texts, counted, strict=True)):
        ids[row, : len(text)] = torch.tensor(text)
        mask[row, : len(text)] = 1
        wanted[row, len(text) - count : len(text)] = True
    return ids.to(device), mask.to(device), wanted.to(device)


def token_nll(model: nn.Module, head: OutputHead, ids: Tensor, mask: Tensor, wanted: Tensor) -> Tensor:
    """Negative log-likelihood in nats of the `wanted` tokens of `ids`, each given those before it: (wanted.sum(),).

    Args:
        model: Makes its logits by way of `head`; it may be wrapped.
        ids: Tokens, padded on the right, (B, L).
        mask: Which of them are no padding, (B, L).
        wanted: Bool, (B, L); never the first token of a text.
    """
    before, targets = wanted[:, 1:], ids[wanted]
    if head.last and len(targets) * head.vocabulary > MOST_LOGITS:
        rows = max(1, MOST_LOGITS // head.vocabulary)

        def by_parts(forward: Callable[[Tensor], Tensor], hidden: Tensor) -> Tensor:
            parts = zip(torch.split(hidden[:, :-1][before], rows), torch.split(targets, rows), strict=True)
            return torch.cat([checkpoint(_part, forward, *part, use_reentrant=False) for part in parts])

        with _instead(head.module, by_parts):
            found: Tensor = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        return found
    chosen = head.module.register_forward_pre_hook(lambda _, given: (given[0][:, :-1][before][None],))
    try:
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[0]
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
