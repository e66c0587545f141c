"""Drawing a token, with its likelihood."""

from __future__ import annotations

import torch
from torch import Tensor

from sivgap.engines.nucleus import nucleus


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
    logits = logits.float()
    logp = logits.log_softmax(-1)
    if temperature == 0:
        token = logits.argmax(-1)[row]
    else:
        tempered = logp if temperature == 1 else (logits / temperature).log_softmax(-1)
        probability = tempered.exp() if top_p == 1 else nucleus(tempered.exp(), top_p)
        cumulative = probability.cumsum(-1, dtype=torch.float64)[row]
        target = uniform[:, None] * cumulative[:, -1:]
        token = torch.searchsorted(cumulative, target, right=True)[:, 0].clamp_max(logits.shape[-1] - 1)
    return token, logp[row, token].double()
