"""A key-value cache in which responses share what they have in common, and the attention that reads it.

The N responses to a prompt share the prompt: its keys and values are computed and kept once, shape (prompts, heads,
prompt length, dim). Responses that agree so far share their beginning, too: a *row* holds one beginning, shape (rows,
heads, capacity, dim), and splits where the samples that continue it draw different tokens. A confident model's samples
agree for long, so it has far fewer rows than samples; a row that ended stays, for the verifier to read. One softmax
runs over prompt and row, so the result is ordinary causal attention. The attention function plugs into transformers'
attention interface and hence works for every architecture that uses it, rotary variants, grouped heads and biases
included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from sivgap.engines.text_blocks import TextBlocks
from sivgap.models import packing

ATTENTION = "sivgap_prefix"

States = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer, (rows, H_kv, L, D)."""


class PrefixCache:
    """Keys and values of prompts (shared) and of the rows that continue them.

    Rows that ended come first, then the live ones, which are fed; at first one for each prompt. A row's tokens fill its
    slots from the first one on; what lies behind them is never attended to.

    Attributes:
        live: The rows that are fed.
        prompt: The prompt that each row continues, (rows,).
        filled: Tokens of each row's text, (rows,).
    """

    def __init__(
        self,
        prefix: States,
        prefix_mask: Tensor,
        rows: int,
        capacity: int,
        windows: Sequence[int | None] = (),
        prompt: Tensor | None = None,
    ) -> None:
        """`prefix`: of P prompts; `prefix_mask`: bool (P, L), True on tokens; `rows`: room for that many, at least the
        number of samples; `capacity`: tokens a row; `windows`: of each layer how many tokens up to its own a token
        attends to, None for all; `prompt`: the prompt of each live row, where they are not one for each prompt."""
        self._take_prompts(prefix, prefix_mask)
        keys = prefix[0][0]
        self.texts = TextBlocks([keys for keys, _ in prefix], rows, capacity)
        self._windows = windows
        live = torch.arange(len(keys), device=keys.device) if prompt is None else prompt
        self.prompt = torch.zeros(rows, dtype=torch.long, device=keys.device)
        self.prompt[: len(live)] = live
        self.filled = torch.zeros_like(self.prompt)
        self.live = slice(0, len(live))
        self._waiting = self.prompt[:0]

    def _take_prompts(self, prefix: States, mask: Tensor) -> None:
        self.prefix, self.prefix_mask = prefix, mask
        self._prompt_length = mask.sum(1)
        self._padded = not bool(mask.all())

    @property
    def position(self) -> Tensor:
        """Position id of the next token of each live row, (live,)."""
        return self._prompt_length[self.prompt[self.live]] + self.filled[self.live]

    def branch(self, row: Tensor, token: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
        """Every sample that goes on, at live row `row` (samples,), draws `token`, and it may end there (bool `ends`).

        Samples at one row that drew the same token stay together.

        Returns:
            The new row of each sample, (samples,), and the tokens to feed to the live rows, (live,).
        """
        span = int(token.max()) + 1
        groups, group = torch.unique(row * span + token, return_inverse=True)
        parent, drawn = groups // span, groups % span  # parents in ascending order
        over = torch.zeros_like(parent, dtype=torch.bool)
        over[group] = ends
        first = self.live.start
        place = self._part(parent, over)
        feed = torch.empty_like(parent)
        feed[place - first] = drawn
        return place[group], feed[self.live.start - first :]

    def retire(self, over: Tensor) -> Tensor:
        """Live rows end, bool `over` (live,); the new place of each row that was live, (live,)."""
        return self._part(torch.arange(self.live.start, self.live.stop, device=over.device), over)

    def _part(self, parent: Tensor, over: Tensor) -> Tensor:
        """Continue each row of `parent` (ascending, some of them several times); those that are `over` have ended, and
        the others are live. Their places."""
        first = self.live.start
        self.live = slice(first + int(over.sum()), first + len(parent))
        place = torch.empty_like(parent)
        place[over] = torch.arange(first, self.live.start, device=parent.device)
        place[~over] = self._settle(parent[~over])
        self._copy(parent, place)
        return place

    def _settle(self, parent: Tensor) -> Tensor:
        """Places in the live range for continuations of `parent` (ascending); as many as can stay where they are."""
        stays = (parent >= self.live.start) & (parent < self.live.stop)
        stays[1:] &= parent[1:] != parent[:-1]
        vacant = torch.ones(len(parent), dtype=torch.bool, device=parent.device)
        vacant[parent[stays] - self.live.start] = False
        place = parent.clone()
        place[~stays] = vacant.nonzero()[:, 0] + self.live.start
        return place

    def _copy(self, source: Tensor, target: Tensor) -> None:
        """Copy rows; all are read before one is written."""
        moving = source != target
        source, target = source[moving], target[moving]
        if len(source):
            self.texts.copy(source, target, int(self.filled[source].max()))
            for state in (self.prompt, self.filled):
                state[target] = state[source]

    def turn_to_ended(self) -> None:
        """Feed the rows that ended, from now on, with room for as many more as all had. The others wait for `admit`."""
        rows = torch.arange(self.live.start, self.live.stop, device=self.prompt.device)
        self._waiting = rows + len(self.prompt) - self.live.stop  # out of the way: at the very end
        self._copy(rows, self._waiting)
        self.live = slice(0, self.live.start)

    def admit(self, prefix: States, prefix_mask: Tensor) -> None:
        """Give up the rows that ended, and the prompts that no waiting row continues; live are the rows that wait, and
        then one for each of the new prompts `prefix` and `prefix_mask`, which are as the constructor takes them."""
        waiting = self._waiting
        mine, self.prompt[waiting] = torch.unique(self.prompt[waiting], return_inverse=True)
        self._copy(waiting, torch.arange(len(waiting), device=waiting.device))
        length = max(self.prefix_mask.shape[1], prefix_mask.shape[1])

        def joined(old: Tensor, new: Tensor) -> Tensor:
            return torch.cat([longer(old[mine], length), longer(new, length)])

        for layer, (keys, values) in enumerate(prefix):  # layer by layer: the old one goes as the joined one comes
            self.prefix[layer] = joined(self.prefix[layer][0], keys), joined(self.prefix[layer][1], values)
        old_mask, new_mask = self.prefix_mask[:, None, :, None], prefix_mask[:, None, :, None]
        self._take_prompts(self.prefix, joined(old_mask, new_mask)[:, 0, :, 0])
        self.live = slice(0, len(waiting) + len(prefix_mask))
        new = slice(len(waiting), self.live.stop)
        self.prompt[new] = torch.arange(len(mine), len(self.prefix_mask), device=mine.device)
        self.filled[new] = 0

    def open_slots(self, new: int, tree: Tensor | None = None, depth: Tensor | None = None) -> None:
        """Make room for the next `new` tokens of every live row, which stand at its position + `depth` (new,).

        `tree` (new, new), where given, says which new token may attend to which; without it they are causal.
        """
        start = self.filled[self.live]
        least, most, prompt = torch.stack([*torch.aminmax(start), self._prompt_length.max()]).tolist()
        self._width = int(most + new)
        slots = start[:, None] + torch.arange(new, device=start.device)
        self._parts = self.texts.parts(self.live, slots, int(least), int(most))
        self._new = slots, torch.arange(new, device=start.device) if depth is None else depth, tree
        self._biases: dict[int | None, Tensor] = {}
        self._whole_seen = not (self._padded or new > 1 or least < most)
        self._longest = prompt + self._width
        self._arrange()

    def _bias(self, window: int | None) -> Tensor | None:
        """What attention scores are shifted by, (live, 1, new, L + width), in a layer where a token attends to `window`
        tokens up to its own; None where all that there is may be attended to."""
        if window is not None and window >= self._longest:
            window = None
        if window is None and self._whole_seen:
            return None
        if window not in self._biases:
            seen = self._seen() if window is None else self._seen() & self._near(window)
            self._biases[window] = _shift(seen, self.prefix[0][0].dtype)[:, None]
        return self._biases[window]

    def _seen(self) -> Tensor:
        """Which places each new token may attend to, bool (live, new, L + width)."""
        slots, _, tree = self._new
        start, new = slots[:, 0], slots.shape[1]
        seen = (torch.arange(self._width, device=start.device) < start[:, None])[:, None].repeat(1, new, 1)
        order = torch.ones(new, new, dtype=torch.bool, device=seen.device).tril() if tree is None else tree
        seen.scatter_(2, slots[:, None].expand(-1, new, -1), order.expand(len(start), -1, -1))
        before = self.prefix_mask[self.prompt[self.live], None].expand(-1, new, -1)
        return torch.cat([before, seen], -1)

    def _near(self, window: int) -> Tensor:
        """Which places lie among the last `window` positions up to each new token's, bool (live, new, L + width)."""
        slots, depth, _ = self._new
        prompt = self.prompt[self.live]
        mine = self.position[:, None] + depth
        text = self._prompt_length[prompt, None] + torch.arange(self._width, device=slots.device)
        text = text.scatter(1, slots, mine)
        places = torch.cat([self.prefix_mask.cumsum(1)[prompt] - 1, text], 1)
        return mine[:, :, None] - places[:, None] < window

    def _arrange(self) -> None:
        """Give each live row a place in a (prompts, heads, width) table, where the rows of a prompt lie together."""
        prompt, order = self.prompt[self.live].sort(stable=True)
        rows, (prompts, heads) = len(prompt), self.prefix[0][0].shape[:2]
        count = torch.bincount(prompt, minlength=prompts)
        width = int(count.max())
        each = torch.arange(rows, device=prompt.device)
        rank = each - (count.cumsum(0) - count)[prompt]
        head = torch.arange(heads, device=prompt.device)
        self._place = prompt.new_empty(rows, heads)
        self._place[order] = (prompt[:, None] * heads + head) * width + rank[:, None]
        self._place = self._place.flatten()
        self._from = prompt.new_zeros(prompts * heads * width)  # places without a row repeat the first one, unread
        self._from[self._place] = torch.arange(rows * heads, device=prompt.device)

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Called by the model's attention layers; stores the new tokens in the slots opened last."""
        self.texts.write(layer, self._parts, keys, values)
        return keys, values

    def attention(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """`models.decoder.Attention` over prompt, own tokens and the new ones, which are stored."""
        self.update(key.transpose(1, 2), value.transpose(1, 2), layer)
        return self.attend(
            layer, query.transpose(1, 2), query.shape[-1] ** -0.5, self._windows[layer] if self._windows else None
        )

    def get_seq_length(self, layer: int = 0) -> int:
        return int(self.prefix[0][0].shape[2]) + self._width

    def whole(self, length: int) -> States:
        """Keys and values of each live row's prompt and the first `length` places behind it, (live, H_kv, L + length,
        D); to go on from them elsewhere."""
        prompt = self.prompt[self.live]

        def joined(layer: int, which: int) -> Tensor:
            before = self.prefix[layer][which]
            blocks = [pair[which] for pair in self.texts.read(layer, self.live, length)]
            heads, dim = before.shape[1], before.shape[3]
            return torch.cat([before[prompt], *(block.view(len(prompt), heads, -1, dim) for block in blocks)], 2)

        return [(joined(layer, 0), joined(layer, 1)) for layer in range(len(self.prefix))]

    def attend(self, layer: int, query: Tensor, scaling: float, window: int | None = None) -> Tensor:
        """Attention output (live, new, H, D) of `query` (live, H, new, D) over the prompt and the row's own tokens, of
        these the last `window`."""
        prefix_keys, prefix_values = (part.flatten(0, 1) for part in self.prefix[layer])
        rows, heads, new, dim = query.shape
        units, length = rows * self.prefix[layer][0].shape[1], prefix_keys.shape[1]  # a unit: a key-value head of a row
        query = (query * scaling).contiguous().view(units, -1, dim)  # the queries of a unit share its keys

        texts = list(self.texts.read(layer, self.live, self._width))
        on_prefix = self._by_unit(torch.bmm(self._by_prompt(query), prefix_keys.mT), length)
        scores = torch.cat([on_prefix, *(torch.bmm(query, keys.mT) for keys, _ in texts)], dim=-1)
        bias = self._bias(window)
        if bias is not None:
            scores.view(rows, heads, new, -1).add_(bias)
        weights = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
        on_prefix, *on_texts = torch.split(weights, [length, *(keys.shape[1] for keys, _ in texts)], dim=-1)
        out = self._by_unit(torch.bmm(self._by_prompt(on_prefix), prefix_values), dim)
        for part, (_, values) in zip(on_texts, texts, strict=True):
            out.baddbmm_(part, values)
        return out.view(rows, heads, new, dim).transpose(1, 2)

    def _by_prompt(self, values: Tensor) -> Tensor:
        """(units, Q, X) -> (P x H_kv, width x Q, X): the units that share a prompt's keys, together."""
        units = len(self.prefix_mask) * self.prefix[0][0].shape[1]
        return values.index_select(0, self._from).view(units, -1, values.shape[-1])

    def _by_unit(self, values: Tensor, last: int) -> Tensor:
        """(P x H_kv, width x Q, `last`) -> (units, Q, `last`)."""
        return values.view(len(self._from), -1, last).index_select(0, self._place)


def longer(states: Tensor, length: int) -> Tensor:
    """(P, H, L, D) with empty places before, up to `length`."""
    return torch.nn.functional.pad(states, (0, 0, length - states.shape[2], 0))


def _shift(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """What attention scores are shifted by: nothing where `seen`, minus infinity elsewhere."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, float("-inf"))


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    prefix_cache: PrefixCache | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    if prefix_cache is None:  # the prompt itself, or texts in one row
        return packing.attention(
            module, query, key, value, attention_mask, scaling=scaling, sliding_window=sliding_window, **kwargs
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return prefix_cache.attend(int(module.layer_idx), query, scale, sliding_window), None  # type: ignore[arg-type]


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def use_prefix_attention(model: PreTrainedModel) -> None:
    """Let `model` read a `PrefixCache`, passed to its forward as both its cache and ``prefix_cache``."""
    model.set_attn_implementation(ATTENTION)
