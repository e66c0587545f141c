"""Drawing a token, with its likelihood.

A vocabulary has up to 262,144 tokens, and there is one distribution a response under way: each pass over all of them
counts. So sums are made of blocks first, and the cumulative distribution is known to the last bit only within the block
that a number falls into; a few rows are worked on at a time, which stay in the processor's cache.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from sivgap.engines.nucleus import nucleus

BLOCK = 512
"""Tokens whose probabilities are summed before one of them is looked for."""
AT_ONCE = {"cpu": 2**20}
AT_ONCE_ELSEWHERE = 2**26
"""Logits worked on at once, in float32: what a processor's cache holds; of a GPU a part of its memory."""


def draw(logits: Tensor, row: Tensor, uniform: Tensor, temperature: float, top_p: float = 1.0) -> tuple[Tensor, Tensor]:
    """One token a sample, by inverting the cumulative distribution at `uniform`, and its log-likelihood at temperature
    1 among all tokens.

    Args:
        logits: Raw logits, (rows, V).
        row: The row whose distribution each sample draws from, (samples,).
        uniform: Numbers in [0, 1), float64 (samples,).
        temperature: Of the sampling alone; 0 takes the likeliest token.
        top_p: Of the sampling alone, too: below 1, tokens outside the `nucleus` that holds it are never drawn.
    """
    count = max(1, AT_ONCE.get(logits.device.type, AT_ONCE_ELSEWHERE) // logits.shape[1])
    if len(logits) <= count:
        return _draw(logits, row, uniform, temperature, top_p)
    order = row.argsort(stable=True)
    token, logp = torch.empty_like(row), torch.empty_like(uniform)
    ends = torch.searchsorted(row[order], torch.arange(count, len(logits) + count, count, device=row.device))
    start = 0
    for number, end in enumerate(ends.tolist()):
        if start < end:
            here = order[start:end]
            first = number * count
            token[here], logp[here] = _draw(
                logits[first : first + count], row[here] - first, uniform[here], temperature, top_p
            )
        start = end
    return token, logp


def _draw(logits: Tensor, row: Tensor, uniform: Tensor, temperature: float, top_p: float) -> tuple[Tensor, Tensor]:
    logits = logits.float()
    largest = logits.amax(-1, keepdim=True)
    mass = (logits - largest).exp_()
    sums = _sums(mass)
    whole = sums.sum(-1, dtype=torch.float64)
    if temperature == 0:
        token = logits.argmax(-1)[row]
    else:
        if temperature != 1:
            mass = (logits - largest).div_(temperature).exp_()
        if top_p < 1:
            mass = nucleus(mass / mass.sum(-1, keepdim=True), top_p)
        token = _inverse(mass, sums if temperature == 1 and top_p == 1 else _sums(mass), row, uniform)
    return token, (logits[row, token] - largest[row, 0]).double() - whole[row].log()


def _sums(mass: Tensor) -> Tensor:
    """(rows, V) -> sums of its blocks, (rows, blocks); of a small vocabulary each token is one."""
    if mass.shape[1] <= BLOCK:
        return mass
    whole = mass.shape[1] // BLOCK * BLOCK
    sums = mass[:, :whole].reshape(len(mass), -1, BLOCK).sum(-1)
    return sums if whole == mass.shape[1] else torch.cat([sums, mass[:, whole:].sum(-1, keepdim=True)], -1)


def _inverse(mass: Tensor, sums: Tensor, row: Tensor, uniform: Tensor) -> Tensor:
    """The token of each sample, (samples,): where the cumulative sum of its row of `mass` exceeds `uniform` of the
    whole; never one without mass."""
    cumulative = sums.cumsum(-1, dtype=torch.float64)[row]
    target = uniform[:, None] * cumulative[:, -1:]
    block = torch.searchsorted(cumulative, target, right=True).clamp_max(sums.shape[1] - 1)
    if sums is mass:
        return block[:, 0]
    before = functional.pad(cumulative, (1, 0)).gather(1, block)
    tokens = block * BLOCK + torch.arange(BLOCK, device=row.device)
    inside = tokens < mass.shape[1]
    within = (mass[row[:, None], tokens.clamp_max(mass.shape[1] - 1)] * inside).cumsum(-1, dtype=torch.float64)
    # A block's sum is rounded otherwise than its parts: what lies beyond them belongs to the last that has any.
    below = torch.nextafter(within[:, -1:], torch.zeros_like(target))
    place = torch.searchsorted(within, torch.minimum(target - before, below), right=True)
    return (block * BLOCK + place)[:, 0].clamp_max(mass.shape[1] - 1)
