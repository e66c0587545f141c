"""One pass of the model over new tokens: the lean one of Llama's kind (`models.decoder`), or transformers' own.

Either way logits are made only where they are asked for, of hidden states that lie side by side: at::matmul copies the
head's whole weight for each row of an input with gaps (8 rows x 640 x 262,144: 11.8 s and 2.6 GB in place of .05 s).
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from sivgap.engines.prefix_cache import PrefixCache, States, use_prefix_attention
from sivgap.models.decoder import Decoder, KeyValueCache, decoder_of

_log = logging.getLogger("sivgap")


class ModelPass:
    """The passes of `model`, whose weights may change between them (`weights_changed`).

    Args:
        text: Tokens of a real text, on which the lean pass is compared with transformers' own.

    Attributes:
        refusal: Why the lean pass is not used; empty where it is.
    """

    def __init__(self, model: PreTrainedModel, text: Sequence[int]) -> None:
        self.model, self._stale = model, True
        self._lean, self.refusal = decoder_of(model, text)
        if self.refusal:
            _log.info(f"sampling with transformers' own pass, not the lean one: {self.refusal}")
        use_prefix_attention(model)

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.device)

    @cached_property
    def _head(self) -> nn.Module:
        return self.model.get_output_embeddings()  # type: ignore[no-any-return]

    @cached_property
    def _cache_name(self) -> str:
        """What transformers calls the argument; until 5.40 the old name is taken for the new one, with a warning."""
        return "cache" if "cache" in inspect.signature(self.model.forward).parameters else "past_key_values"

    @property
    def windows(self) -> list[int | None]:
        """Of each layer how many tokens up to its own a token attends to; where transformers knows, none is named."""
        return [] if self._lean is None else self._lean.windows

    def weights_changed(self) -> None:
        self._stale = True

    def release(self) -> None:
        """Give up copies of the weights until the next pass."""
        if self._lean is not None:
            self._lean.drop_copies()
        self._stale = True

    @property
    def decoder(self) -> Decoder | None:
        """The lean pass, with the weights as they are."""
        if self._lean is not None and self._stale:
            self._lean.take_weights()
        self._stale = False
        return self._lean

    def read(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, States]:
        """Read texts padded on the left, (rows, L); logits (rows, V) of what follows them, and keys and values."""
        position = (mask.cumsum(1) - 1).clamp_min(0)
        last = torch.full((len(ids),), ids.shape[1] - 1, device=ids.device)
        if self.decoder is not None:
            kept = KeyValueCache(mask, self.windows)
            return self.decoder(ids, position, kept.attention, last)[:, 0], kept.states
        cache = DynamicCache()
        with self._logits_at(last):
            out = self.model(
                input_ids=ids, attention_mask=mask, position_ids=position, use_cache=True, **{self._cache_name: cache}
            )
        return out.logits[:, 0], [(layer.keys, layer.values) for layer in cache.layers]

    def feed(
        self, tokens: Tensor, cache: PrefixCache, depth: Tensor, tree: Tensor | None = None, at: Tensor | None = None
    ) -> Tensor:
        """Feed `tokens` (live rows, new) at the rows' position + `depth` (new,); logits (live rows, new, V), with `at`,
        (live rows,), only of what follows that one of each row's, (live rows, 1, V)."""
        cache.open_slots(tokens.shape[1], tree, depth)
        position = cache.position[:, None] + depth
        if self.decoder is not None:
            return self.decoder(tokens, position, cache.attention, at)
        with self._logits_at(at):
            logits: Tensor = self.model(
                input_ids=tokens,
                attention_mask=tokens.new_zeros((1, 1, 1, 1), dtype=torch.bool),  # unused: the cache masks
                position_ids=position,
                prefix_cache=cache,
                use_cache=True,
                **{self._cache_name: cache},
            ).logits
        return logits

    @contextmanager
    def _logits_at(self, at: Tensor | None) -> Iterator[None]:
        """Within, the model's head sees its input side by side, and with `at` only that place of each row."""

        def chosen(_: nn.Module, given: tuple[Any, ...]) -> tuple[Tensor]:
            hidden = given[0]
            if at is not None:
                hidden = hidden[torch.arange(len(hidden), device=at.device), at][:, None]
            return (hidden.contiguous(),)

        hook = self._head.register_forward_pre_hook(chosen)
        try:
            yield
        finally:
            hook.remove()
