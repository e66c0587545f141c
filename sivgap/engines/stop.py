"""Texts that end a response: a base model goes on to the next question of a few-shot prompt unless it is stopped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

_MARGIN = 8
"""Tokens looked at beyond one a character of the longest stop text: a character can take several."""


class StopText:
    """Recognises `stops` in what was sampled, whatever tokens they were written with."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stops: Sequence[str]) -> None:
        self._tokenizer, self.stops = tokenizer, list(stops)
        self._window = max(map(len, stops)) + _MARGIN

    def ended(self, tokens: Tensor, length: Tensor, rows: Tensor) -> Iterator[tuple[int, int]]:
        """Of some `rows` those whose last token completes a stop text in the first `length` (rows,) of their `tokens`
        (rows, longest): the row, and how many of its last tokens hold the stop text."""
        last = (length[rows, None] + torch.arange(-self._window, 0, device=rows.device)).clamp_min(0)
        windows = tokens[rows].gather(1, last).tolist()
        tails = [tail[-count:] for tail, count in zip(windows, length[rows].tolist(), strict=True)]
        for row, tail, text in zip(rows.tolist(), tails, self._tokenizer.batch_decode(tails), strict=True):
            places = [place for place in map(text.find, self.stops) if place >= 0]
            if places:
                yield row, self._tokens_behind(tail, min(places))

    def _tokens_behind(self, tail: list[int], place: int) -> int:
        """The fewest last tokens without which the text ends at or before `place`."""
        for count in range(1, len(tail)):
            if len(self._tokenizer.decode(tail[:-count])) <= place:
                return count
        return len(tail)
