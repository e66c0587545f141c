"""Nucleus sampling (Holtzman et al. 2020): the likeliest tokens alone, as few as hold a given share of probability."""

from __future__ import annotations

import torch
from torch import Tensor


def nucleus(probability: Tensor, top_p: float) -> Tensor:
    """`probability` (rows, V) with zeros outside the smallest set that holds `top_p`; of equal tokens the first are in
    it. What is left is not scaled up to 1, and never empty: a small `top_p` leaves what greedy decoding takes.
    """
    descending, token = torch.sort(probability, dim=-1, descending=True, stable=True)
    before = descending.cumsum(-1, dtype=torch.float64) - descending
    return torch.zeros_like(probability).scatter(-1, token, descending.where(before < top_p, 0))
