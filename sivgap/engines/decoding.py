"""Samples under way in the rows of a cache: each draws its tokens until it ends, and leaves its place to another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sivgap.engines.draw import draw
from sivgap.engines.prefix_cache import PrefixCache, States
from sivgap.engines.stop import StopText
from sivgap.runtime.rng import uniforms

Forward = Callable[[Tensor, PrefixCache, Tensor], Tensor]
"""Feeds tokens (live rows, new) to the rows of a cache at given depths (new,); logits (live rows, new, V)."""


@dataclass(frozen=True)
class Samples:
    """What samples have drawn; one entry of each a sample.

    Attributes:
        place: Number of the sample among all that were asked for.
        row: The row of the cache that holds its text.
        noise: Its uniform numbers, (samples, longest).
        tokens: What it drew, (samples, longest).
        nll: Summed -log p at temperature 1, in nats.
        length: Tokens drawn.
        ending: How many tokens at the end only end it.
    """

    place: Tensor
    row: Tensor
    noise: Tensor
    tokens: Tensor
    nll: Tensor
    length: Tensor
    ending: Tensor

    def of(self, which: Tensor) -> Samples:
        return Samples(*(getattr(self, field.name)[which] for field in fields(self)))

    def __add__(self, other: Samples) -> Samples:
        return Samples(*(torch.cat([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))

    def texts(self, lengths: Tensor) -> list[NDArray[np.int64]]:
        """The first `lengths` tokens of each."""
        array = self.tokens.cpu().numpy()
        return [array[i, :n].copy() for i, n in enumerate(lengths.tolist())]


def begun(place: Tensor, row: Tensor, keys: NDArray[np.uint64], longest: int) -> Samples:
    """Samples that have drawn nothing yet, at the rows `row`, of at most `longest` tokens."""
    noise = torch.from_numpy(uniforms(keys, longest)).to(place.device)
    tokens = place.new_zeros(len(place), longest)
    nll = torch.zeros_like(place, dtype=torch.float64)
    return Samples(place, row.clone(), noise, tokens, nll, torch.zeros_like(place), torch.zeros_like(place))


@dataclass(frozen=True)
class DecodingSettings:
    """How tokens are drawn, and what ends a sample before it is as long as it may be."""

    temperature: float
    end_tokens: Tensor
    top_p: float = 1.0
    stop: StopText | None = None


class Decoding:
    """Samples that draw their tokens together.

    Attributes:
        cache: Holds their texts, without what ended them.
        samples: Those that are here, whether they have ended or not.
        going: Which have not, ascending, (going,).
    """

    def __init__(
        self, forward: Forward, ways: DecodingSettings, cache: PrefixCache, logits: Tensor, samples: Samples
    ) -> None:
        """`logits`: of the next token of each live row of `cache`, (live rows, V)."""
        self._forward, self._ways, self.cache, self._logits = forward, ways, cache, logits
        self.samples = samples
        self.going = torch.arange(len(samples.place), device=logits.device)
        self._same_place = torch.zeros(1, dtype=torch.long, device=logits.device)

    def __len__(self) -> int:
        """Samples that still draw."""
        return len(self.going)

    @property
    def ended(self) -> int:
        """Samples that have ended and are still here."""
        return len(self.samples.place) - len(self)

    def step(self) -> tuple[int, int]:
        """Let every sample draw one token; samples at one row that draw the same one stay together.

        Returns:
            Tokens drawn, and how many fewer than they might have the samples that ended just now have drawn.
        """
        s, cache, going = self.samples, self.cache, self.going
        at = s.length[going]
        token, logp = draw(
            self._logits,
            s.row[going] - cache.live.start,
            s.noise[going, at],
            self._ways.temperature,
            self._ways.top_p,
        )
        s.tokens[going, at] = token
        s.nll[going] -= logp
        s.length[going] += 1
        s.ending[going] = torch.isin(token, self._ways.end_tokens).long()
        stopped = self._stopped()
        for sample, count in stopped.items():
            s.ending[sample] = count
        ended = s.ending[going] > 0
        s.row[going], feed = cache.branch(s.row[going], token, ended)
        for row, count in {int(s.row[sample]): count for sample, count in stopped.items()}.items():
            cache.filled[row] -= count - 1  # the last of them was never fed
        over = going[ended]
        spared = len(over) * s.tokens.shape[1] - int(s.length[over].sum()) if len(over) else 0
        self.going = going[~ended]
        if len(feed):
            self._logits = self._forward(feed[:, None], cache, self._same_place)[:, 0]
            cache.filled[cache.live] += 1
            self._cut()
        return len(going), spared

    def _stopped(self) -> dict[int, int]:
        """The samples that a stop text ended just now, and how many of their tokens hold it."""
        if self._ways.stop is None:
            return {}
        open_ones = self.going[self.samples.ending[self.going] == 0]
        return dict(self._ways.stop.ended(self.samples.tokens, self.samples.length, open_ones))

    def _cut(self) -> None:
        """End the samples that are as long as they may be."""
        s, cache, going = self.samples, self.cache, self.going
        full = s.length[going] == s.tokens.shape[1]
        if not bool(full.any()):
            return
        over = torch.zeros(len(self._logits), dtype=torch.bool, device=full.device)
        over[s.row[going] - cache.live.start] = full
        first = cache.live.start
        place = cache.retire(over)
        s.row[going] = place[s.row[going] - first]
        logits = torch.empty_like(self._logits[: len(over) - int(over.sum())])
        logits[place[~over] - cache.live.start] = self._logits[~over]
        self._logits = logits
        self.going = going[~full]

    def release(self) -> Samples:
        """The samples that have ended; they are no longer here, but the cache turns to their rows until `admit`."""
        over = torch.ones_like(self.samples.place, dtype=torch.bool)
        over[self.going] = False
        ended, here = self.samples.of(over), self.samples.of(self.going)
        here.row.sub_(self.cache.live.start)
        self.samples, self.going = here, torch.arange(len(here.place), device=over.device)
        self.cache.turn_to_ended()
        return ended

    def admit(self, prefix: States, mask: Tensor, logits: Tensor, samples: Samples) -> None:
        """After `release`: let `samples` of new prompts begin beside those under way.

        Args:
            prefix, mask: As `PrefixCache` takes them.
            logits: Of the first token behind each prompt, (P, V).
            samples: With `row` 0, 1, ... for the prompts.
        """
        self.cache.admit(prefix, mask)
        live = self.cache.live.stop - len(logits)
        self.samples = self.samples + replace(samples, row=samples.row + live)
        self.going = torch.arange(len(self.samples.place), device=logits.device)
        self._logits = torch.cat([self._logits[:live], logits])
