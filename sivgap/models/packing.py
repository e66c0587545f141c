"""Texts of different lengths in one row, without padding: every layer sees each token once, attention each text alone.

What a text begins with as the one before it does, few-shot examples for one, stands in the row once. Attention takes
the texts apart again, padded on the right, where nothing attends to what follows it and no mask is needed but for a
sliding window; it plugs into transformers' attention interface, and hence works for every architecture that uses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
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
        place: Of each in the texts apart, (T,); of one that several texts begin with in the first of these.
        apart: Texts, and the length of the longest.
        source: The token at each place of the texts apart, (texts x longest,), where any is shared.
    """

    ids: Tensor
    position: Tensor
    wanted: Tensor
    place: Tensor
    apart: tuple[int, int]
    source: Tensor | None = None

    def inputs(self) -> dict[str, Any]:
        """What a model takes that has been told to `read_packed`."""
        mask = self.ids.new_zeros((1, 1, 1, 1), dtype=torch.bool)  # unused: there is nothing to mask
        return {"input_ids": self.ids, "position_ids": self.position, "attention_mask": mask, "packed": self}


def packed(texts: Sequence[Sequence[int]], counted: Sequence[int], device: torch.device) -> Packed:
    """Pack `texts`, of each of which the last `counted` tokens are wanted."""
    lengths = torch.tensor([len(text) for text in texts])
    longest = int(lengths.max())
    shared = torch.tensor([0] + [_shared(*pair) for pair in pairwise(zip(texts, counted, strict=True))])
    order = torch.arange(longest)
    own = (order >= shared[:, None]) & (order < lengths[:, None])
    text, position = own.nonzero(as_tuple=True)
    source = None
    if bool(shared.any()):
        rows = torch.zeros(len(texts), longest, dtype=torch.long)
        rows[text, position] = torch.arange(len(text))
        for row, count in enumerate(shared.tolist()):
            rows[row, :count] = rows[row - 1, :count]
        source = rows.flatten().to(device)
    return Packed(
        torch.tensor([token for tokens, same in zip(texts, shared.tolist(), strict=True) for token in tokens[same:]],
                     device=device)[None],
        position.to(device)[None],
        (position >= (lengths - torch.tensor(counted))[text]).to(device)[None],
        (text * longest + position).to(device),
        (len(texts), longest),
        source,
    )  # fmt: skip


def _shared(before: tuple[Sequence[int], int], here: tuple[Sequence[int], int]) -> int:
    """Tokens that stand at the beginning of both texts. The last one before those that are asked about is left to each:
    what it says is asked for right behind it."""
    (one, wanted), (other, asked) = before, here
    return beginning(one, other, min(len(one) - wanted, len(other) - asked) - 1)


def beginning(one: Sequence[int], other: Sequence[int], most: int) -> int:
    """How many of their first tokens, at most `most`, two texts share."""
    return next((i for i in range(most) if one[i] != other[i]), max(most, 0))


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    packed: Packed | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of transformers' interface, (B, L, H, D); of `packed` texts within each."""
    if packed is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)  # type: ignore[no-any-return]
    texts, longest = packed.apart

    def apart(states: Tensor) -> Tensor:
        """(1, H, T, D) -> (texts, H, longest, D)."""
        _, heads, _, dim = states.shape
        in_row = states[0].transpose(0, 1)
        if packed.source is not None:
            padded = in_row.index_select(0, packed.source)
        else:
            padded = states.new_zeros(texts * longest, heads, dim).index_copy(0, packed.place, in_row)
        return padded.view(texts, longest, heads, dim).transpose(1, 2)

    near = None
    if sliding_window is not None and sliding_window < longest:
        near = torch.ones(longest, longest, dtype=torch.bool, device=query.device).tril().triu(1 - sliding_window)
    out, _ = sdpa_attention_forward(module, apart(query), apart(key), apart(value), near, **kwargs)
    return out.flatten(0, 1).index_select(0, packed.place)[None], None


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def read_packed(model: PreTrainedModel) -> None:
    """Let `model` read `Packed.inputs`."""
    model.set_attn_implementation(ATTENTION)
