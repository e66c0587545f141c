"""Reading prompts before anything is drawn: in pieces that fit a budget of tokens, what several begin with once.

A verifier asks about N responses to the same problem, and few-shot examples stand before every question: such
beginnings are read once, and the rest of each prompt goes on from their keys and values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from sivgap.engines.budget import SCORES, SCORES_ELSEWHERE
from sivgap.engines.model_pass import ModelPass
from sivgap.engines.prefix_cache import PrefixCache, States, longer
from sivgap.models.packing import beginning

Tokens = Sequence[int]

IN_A_PASS = {"cpu": 2**11}
IN_A_PASS_ELSEWHERE = 2**15
"""Tokens, padding included, that one pass reads: enough for products to be fast, and little memory a layer."""
LEAST_SHARED = 16
"""Tokens: a shorter beginning is read again for each, in the same pass."""


def in_a_pass(device: torch.device) -> int:
    """Tokens that one pass may read on `device`."""
    return IN_A_PASS.get(device.type, IN_A_PASS_ELSEWHERE)


def rows_at_once(model: ModelPass, new: int, places: int) -> int:
    """Rows of which one pass reads `new` tokens each, which attend to `places` places."""
    heads: int = model.model.config.get_text_config().num_attention_heads
    scores = SCORES.get(model.device.type, SCORES_ELSEWHERE)
    return max(1, min(in_a_pass(model.device) // new, scores // (heads * new * places)))


@dataclass
class Prefix:
    """Prompts that have been read.

    Attributes:
        logits: Of what follows each, (P, V).
        states: Keys and values of each layer, (P, H_kv, L, D).
        mask: Which places of L hold a prompt's tokens, bool (P, L).
    """

    logits: Tensor
    states: States
    mask: Tensor


def prefill(
    model: ModelPass, prompts: Sequence[Tokens], pad: int, checked: Callable[[int], None] = lambda read: None
) -> Prefix:
    """Read `prompts`; `checked` is told between passes how many of them the last one read, and may raise.

    Args:
        pad: Any token id, for places that are masked.
    """
    parts: list[tuple[list[int], Prefix]] = []
    for shared, places in beginnings(prompts):
        for piece in _pieces([len(prompts[i]) - shared for i in places], shared, model):
            some = [places[i] for i in piece]
            texts = [prompts[i] for i in some]
            parts.append((some, _from_beginning(model, texts, shared, pad) if shared else _whole(model, texts, pad)))
            checked(len(some))
    return _together(parts)


def beginnings(texts: Sequence[Tokens]) -> list[tuple[int, list[int]]]:
    """Groups of `texts`, by places, with the number of first tokens that all of a group share and that are worth
    reading once: such that as few tokens as possible are read. What shares nothing is one group, with 0.

    Of each text at least the last token is left, whose logits are wanted.
    """
    order = sorted(range(len(texts)), key=lambda i: tuple(texts[i]))
    shared = [0] + [_shared(texts[a], texts[b]) for a, b in pairwise(order)]

    def best(low: int, high: int) -> tuple[int, list[tuple[int, int, int]]]:
        """The most tokens that need not be read of the texts order[low:high], and the groups that spare them."""
        if high - low < 2:
            return 0, [(0, low, high)]
        least = min(shared[low + 1 : high])
        cuts = [low, *(i for i in range(low + 1, high) if shared[i] == least), high]
        apart = [best(a, b) for a, b in pairwise(cuts)]
        spared, groups = sum(count for count, _ in apart), [group for _, found in apart for group in found]
        together = (high - low - 1) * least if least >= LEAST_SHARED else 0
        return (together, [(least, low, high)]) if together > spared else (spared, groups)

    alone: list[int] = []
    found: list[tuple[int, list[int]]] = []
    for count, low, high in best(0, len(order))[1] if order else []:
        if count:
            found.append((count, sorted(order[low:high])))
        else:
            alone += order[low:high]
    return found + ([(0, sorted(alone))] if alone else [])


def _shared(one: Tokens, other: Tokens) -> int:
    return beginning(one, other, min(len(one), len(other)) - 1)


def in_order(prompts: Sequence[Tokens]) -> list[int]:
    """Places of `prompts` in an order in which those that share a beginning stand together, by length among them, and
    the groups by their shortest: neighbours are read together, with little padding."""
    groups = beginnings(prompts)
    several = [sorted(places, key=lambda i: len(prompts[i])) for shared, places in groups if shared]
    alone = [[i] for shared, places in groups if not shared for i in places]
    return [i for group in sorted(several + alone, key=lambda places: (len(prompts[places[0]]), places)) for i in group]


def _pieces(lengths: Sequence[int], shared: int, model: ModelPass) -> Iterator[list[int]]:
    """Places of `lengths`, short ones first, in pieces that one pass reads."""
    room = in_a_pass(model.device)
    piece: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        most = rows_at_once(model, lengths[i], shared + lengths[i]) if shared else room // lengths[i]
        if len(piece) >= max(1, most):
            yield piece
            piece = []
        piece.append(i)
    yield piece


def _whole(model: ModelPass, texts: Sequence[Tokens], pad: int) -> Prefix:
    """Texts that are read from their first token on, padded on the left."""
    longest = max(map(len, texts))
    ids = torch.full((len(texts), longest), pad)
    for row, text in enumerate(texts):
        ids[row, longest - len(text) :] = torch.tensor(text)
    mask = torch.arange(longest) >= longest - torch.tensor([len(text) for text in texts])[:, None]
    logits, states = model.read(ids.to(model.device), mask.to(model.device))
    return Prefix(logits, states, mask.to(model.device))


def _from_beginning(model: ModelPass, texts: Sequence[Tokens], shared: int, pad: int) -> Prefix:
    """Texts whose first `shared` tokens are the same, which are read once."""
    first = _whole(model, [texts[0][:shared]], pad)
    lengths = torch.tensor([len(text) - shared for text in texts], device=model.device)
    longest = int(lengths.max())
    ids = torch.full((len(texts), longest), pad)
    for row, text in enumerate(texts):
        ids[row, : len(text) - shared] = torch.tensor(text[shared:])
    cache = PrefixCache(first.states, first.mask, len(texts), longest, model.windows, torch.zeros_like(lengths))
    depth = torch.arange(longest, device=model.device)
    logits = model.feed(ids.to(model.device), cache, depth, at=lengths - 1)[:, 0]
    mask = torch.cat([first.mask.expand(len(texts), -1), depth < lengths[:, None]], 1)
    return Prefix(logits, cache.whole(longest), mask)


def _together(parts: list[tuple[list[int], Prefix]]) -> Prefix:
    """All parts in the order of their places; a part's layer is given up as it is taken over."""
    if len(parts) == 1 and parts[0][0] == sorted(parts[0][0]):
        return parts[0][1]
    places = torch.tensor([place for some, _ in parts for place in some]).argsort()
    order = places.to(parts[0][1].logits.device)
    longest = max(part.mask.shape[1] for _, part in parts)
    states: States = []
    for layer in range(len(parts[0][1].states)):
        pairs = [part.states[layer] for _, part in parts]
        keys, values = (torch.cat([longer(pair[i], longest) for pair in pairs])[order] for i in (0, 1))
        states.append((keys, values))
        for _, part in parts:
            part.states[layer] = (keys[:0], values[:0])
    mask = torch.cat([functional.pad(part.mask, (longest - part.mask.shape[1], 0)) for _, part in parts])
    return Prefix(torch.cat([part.logits for _, part in parts])[order], states, mask[order])
