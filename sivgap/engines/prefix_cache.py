"""A key-value cache in which N responses share their prompt, and the attention that reads it.

Keys and values of a prompt are computed and kept once, shape (prompts, heads, prompt length, dim). What each response
adds lives in a buffer allocated once, shape (prompts x N, heads, capacity, dim). One softmax runs over both parts, so
the result is ordinary causal attention. The attention function plugs into transformers' attention interface and hence
works for every architecture that uses it, rotary variants, grouped heads and biases included.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

ATTENTION = "sivgap_prefix"


class PrefixCache:
    """Keys and values of prompts (shared) and of the rows that continue them.

    Rows are prompt-major: row ``p * samples + i`` continues prompt ``p``. Slots are filled for all rows at once; a slot
    that is not part of a row's text (behind its end) is marked invalid and never attended to.
    """

    def __init__(self, prefix: list[tuple[Tensor, Tensor]], prefix_mask: Tensor, samples: int, capacity: int) -> None:
        """`prefix`: per layer (keys, values) of shape (P, H_kv, L, D); `prefix_mask`: bool (P, L), True on tokens."""
        self.prefix, self.samples = prefix, samples
        keys = prefix[0][0]
        rows = keys.shape[0] * samples
        self.prefix_bias = torch.zeros(prefix_mask.shape, dtype=keys.dtype, device=keys.device)
        self.prefix_bias.masked_fill_(~prefix_mask, float("-inf"))
        self.padded = not bool(prefix_mask.all())
        shape = (rows, keys.shape[1], capacity, keys.shape[3])
        self.buffers = [(keys.new_empty(shape), keys.new_empty(shape)) for _ in prefix]
        self.valid = torch.zeros(rows, capacity, dtype=torch.bool, device=keys.device)
        self.used = 0
        self.bias: Tensor | None = None

    def open_slots(self, valid: Tensor, tree: Tensor | None = None) -> None:
        """Make room for the next tokens of every row: `valid` is bool (rows, new), False where a row has no token.

        `tree` (new, new), where given, says which new token may attend to which; without it they are causal.
        """
        new = valid.shape[1]
        self.valid[:, self.used : self.used + new] = valid
        self.used += new
        seen = self.valid[:, None, : self.used].expand(-1, new, -1)
        if new > 1:
            order = torch.ones(new, new, dtype=torch.bool, device=valid.device).tril() if tree is None else tree
            past = order.new_ones(new, self.used - new)
            seen = seen & torch.cat([past, order], dim=1)
        if bool(seen.all()):
            self.bias = None
        else:
            self.bias = torch.zeros(seen.shape, dtype=self.prefix_bias.dtype, device=valid.device)
            self.bias.masked_fill_(~seen, float("-inf"))

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Called by the model's attention layers; stores the new tokens in the slots opened last."""
        start = self.used - keys.shape[2]
        self.buffers[layer][0][:, :, start : self.used] = keys
        self.buffers[layer][1][:, :, start : self.used] = values
        return keys, values

    def get_seq_length(self, layer: int = 0) -> int:
        return self.prefix[0][0].shape[2] + self.used

    def attend(self, layer: int, query: Tensor, scaling: float) -> Tensor:
        """Attention output (rows, new, H, D) of `query` (rows, H, new, D) over the prompt and the row's own tokens."""
        prefix_keys, prefix_values = self.prefix[layer]
        prompts, kv_heads, length, dim = prefix_keys.shape
        rows, heads, new, _ = query.shape
        per_kv = heads // kv_heads * new
        query = (query * scaling).contiguous().view(rows, kv_heads, per_kv, dim)

        shared = query.view(prompts, self.samples, kv_heads, per_kv, dim).transpose(1, 2)
        shared = shared.reshape(prompts * kv_heads, self.samples * per_kv, dim)
        on_prefix = torch.bmm(shared, prefix_keys.reshape(prompts * kv_heads, length, dim).mT)
        on_prefix = on_prefix.view(prompts, kv_heads, self.samples, per_kv, length)
        if self.padded:
            on_prefix = on_prefix + self.prefix_bias[:, None, None, None, :]
        on_prefix = on_prefix.transpose(1, 2).reshape(rows, kv_heads, per_kv, length)

        keys, values = (b.view(rows * kv_heads, -1, dim)[:, : self.used] for b in self.buffers[layer])
        on_own = torch.bmm(query.view(rows * kv_heads, per_kv, dim), keys.mT).view(rows, kv_heads, per_kv, -1)
        if self.bias is not None:
            bias = self.bias[:, None, None].expand(-1, 1, heads // kv_heads, -1, -1)
            on_own = on_own + bias.reshape(rows, 1, per_kv, self.used)

        weights = torch.cat([on_prefix, on_own], dim=-1).softmax(dim=-1, dtype=torch.float32).to(query.dtype)
        to_prefix = weights[..., :length].view(prompts, self.samples, kv_heads, per_kv, length).transpose(1, 2)
        to_prefix = to_prefix.reshape(prompts * kv_heads, self.samples * per_kv, length)
        out = torch.bmm(to_prefix, prefix_values.reshape(prompts * kv_heads, length, dim))
        out = (
            out.view(prompts, kv_heads, self.samples, per_kv, dim).transpose(1, 2).reshape(rows, kv_heads, per_kv, dim)
        )
        own = torch.bmm(weights[..., length:].reshape(rows * kv_heads, per_kv, self.used), values)
        out = out + own.view(rows, kv_heads, per_kv, dim)
        return out.reshape(rows, heads, new, dim).transpose(1, 2)


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    prefix_cache: PrefixCache | None = None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    if prefix_cache is None:  # the prompt itself: ordinary attention
        out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        return out, None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return prefix_cache.attend(int(module.layer_idx), query, scale), None  # type: ignore[arg-type]


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def use_prefix_attention(model: PreTrainedModel) -> None:
    """Let `model` read a `PrefixCache`, passed to its forward as both ``past_key_values`` and ``prefix_cache``."""
    model.set_attn_implementation(ATTENTION)
