"""Texts of different lengths in one row, without padding: every layer sees each token once, attention each text alone.

Attention takes the texts apart again, padded on the right, where nothing attends to what follows it and no mask is
needed; it plugs into transformers' attention interface, and hence works for every architecture that uses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

ATTENTION = "sivgap_packed"


@dataclass(frozen=True)
class Packed:
    """Texts one behind the other; T tokens in all.

    Attributes:
        ids: Tokens, (1, T).
        position: Of each in its text, (1, T).
        wanted: Bool, which tokens are asked about, (1, T).
        place: Of each in the texts apart, (T,).
        apart: Texts, and the length of the longest.
    """

    ids: Tensor
    position: Tensor
    wanted: Tensor
    place: Tensor
    apart: tuple[int, int]

    def inputs(self) -> dict[str, Any]:
        """What a model takes that has been told to `read_packed`."""
        mask = self.ids.new_zeros((1, 1, 1, 1), dtype=torch.bool)  # unused: there is nothing to mask
        return {"input_ids": self.ids, "position_ids": self.position, "attention_mask": mask, "packed": self}


def packed(texts: Sequence[Sequence[int]], counted: Sequence[int], device: torch.device) -> Packed:
    """Pack `texts`, of each of which the last `counted` tokens are wanted."""
    lengths = torch.tensor([len(text) for text in texts])
    longest = int(lengths.max())
    here = torch.arange(longest) < lengths[:, None]
    text, position = here.nonzero(as_tuple=True)
    return Packed(
        torch.tensor([token for tokens in texts for token in tokens], device=device)[None],
        position.to(device)[None],
        (position >= (lengths - torch.tensor(counted))[text]).to(device)[None],
        (text * longest + position).to(device),
        (len(texts), longest),
    )


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    packed: Packed | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of transformers' interface, (B, L, H, D); of `packed` texts within each."""
    if packed is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)  # type: ignore[no-any-return]
    texts, longest = packed.apart

    def apart(states: Tensor) -> Tensor:
        """(1, H, T, D) -> (texts, H, longest, D)."""
        _, heads, _, dim = states.shape
        padded = states.new_zeros(texts * longest, heads, dim).index_copy(0, packed.place, states[0].transpose(0, 1))
        return padded.view(texts, longest, heads, dim).transpose(1, 2)

    out, _ = sdpa_attention_forward(module, apart(query), apart(key), apart(value), None, **kwargs)
    return out.flatten(0, 1).index_select(0, packed.place)[None], None


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def read_packed(model: PreTrainedModel) -> None:
    """Let `model` read `Packed.inputs`."""
    model.set_attn_implementation(ATTENTION)
