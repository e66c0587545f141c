"""What an engine is asked for and what it returns. Every engine speaks these types, and nothing here imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

NOT_FINITE = (
    "the model's likelihoods are not finite: its weights hold NaN or infinite values. "
    "Lower update.learning_rate, or check the checkpoint that was loaded"
)

WriteAdapter = Callable[[Path], None]
"""Writes the adapter in training into a folder, in peft's layout."""
OnBatch = Callable[[float, int], None]
"""Called after every step with the prompts done since the last call, and the tokens drawn. A response under way counts
by its length over the longest; in the end all prompts are done. What it raises ends the work (`errors.Stopped`)."""
OnResponses = Callable[["NDArray[np.int64]", "Rollouts"], object]
"""Called now and then, and before an exception leaves, with responses that have ended: their numbers, p x N + n for
response n to prompt p, and the responses in that order, (count, 1). None is told of twice, and not all have to be."""


@dataclass(frozen=True)
class Prompt:
    """A prompt as tokens, and the 64-bit key of its random numbers (`rng.derive_key` of the problem's id)."""

    tokens: tuple[int, ...]
    key: int


@dataclass(frozen=True)
class Sampling:
    """How to sample: `samples` responses a prompt, at most `max_new_tokens` each, with the noise of `stream`; from the
    nucleus that holds `top_p` of the distribution at `temperature`.

    They are the responses number `first`, `first` + 1, ...: asking for more later gives what asking at once had.
    """

    samples: int
    temperature: float
    max_new_tokens: int
    stream: int
    top_p: float = 1.0
    first: int = 0


@dataclass(frozen=True)
class FollowUp:
    """A question put behind every response, answered by the same weights from the response's cache.

    With `answers` (token sequences, none a prefix of another) the log-likelihood of each is returned and nothing is
    sampled; without, up to `max_new_tokens` are sampled at `temperature` from the nucleus of `top_p`, with the noise of
    `stream` and the response.
    """

    tokens: tuple[int, ...]
    temperature: float
    max_new_tokens: int
    answers: tuple[tuple[int, ...], ...] = ()
    stream: int = 0
    top_p: float = 1.0


@dataclass(frozen=True)
class Rollouts:
    """Responses to P prompts, N each; all arrays have shape (P, N) or one entry a response, prompt-major.

    Attributes:
        tokens: Response tokens, those that ended it included (the end-of-sequence token, or a stop text).
        nll: U(y|x), nats: minus the summed log-likelihood at temperature 1, end of sequence included (SV Eq. 3).
        length: Number of response tokens, those that ended it included.
        ending: How many tokens at the end of a response only end it: 1 for an end of sequence, the tokens of a stop
            text, 0 where `max_new_tokens` cut the response short.
        verdicts: Sampled tokens of the follow-up's answers (without the end of sequence), one a response.
        answer_logprobs: (P, N, A): log-likelihood of each allowed answer.
        generated: All tokens generated, verdicts included.
    """

    tokens: list[NDArray[np.int64]]
    nll: NDArray[np.float64]
    length: NDArray[np.int64]
    ending: NDArray[np.int64]
    verdicts: list[NDArray[np.int64]] | None = None
    answer_logprobs: NDArray[np.float64] | None = None
    generated: int = 0
    seconds_generate: float = 0.0
    seconds_verify: float = 0.0

    @classmethod
    def none(cls, samples: int) -> Rollouts:
        """Responses to no prompt, `samples` each."""
        counts = np.zeros((0, samples), dtype=np.int64)
        return cls([], np.zeros((0, samples)), counts, counts)

    @property
    def finished(self) -> NDArray[np.bool_]:
        """Whether each response ended by itself, (P, N)."""
        return self.ending > 0

    @property
    def bodies(self) -> list[NDArray[np.int64]]:
        """Response tokens without those that only end it."""
        return [row[: len(row) - end] for row, end in zip(self.tokens, self.ending.ravel(), strict=True)]

    def of(self, prompts: Sequence[int] | NDArray[np.int64]) -> Rollouts:
        """The responses to some of the prompts; they have cost nothing again."""
        samples, places = self.nll.shape[1], np.asarray(prompts, dtype=np.int64)
        rows = (places[:, None] * samples + np.arange(samples)).ravel()
        return Rollouts(
            tokens=[self.tokens[row] for row in rows],
            nll=self.nll[places],
            length=self.length[places],
            ending=self.ending[places],
            verdicts=None if self.verdicts is None else [self.verdicts[row] for row in rows],
            answer_logprobs=None if self.answer_logprobs is None else self.answer_logprobs[places],
        )

    def shaped(self, prompts: int, samples: int) -> Rollouts:
        """The same responses as those to `prompts`, `samples` each."""
        shape, logprobs = (prompts, samples), self.answer_logprobs
        return replace(
            self,
            nll=self.nll.reshape(shape),
            length=self.length.reshape(shape),
            ending=self.ending.reshape(shape),
            answer_logprobs=None if logprobs is None else logprobs.reshape(*shape, -1),
        )


def gather(batches: Sequence[tuple[NDArray[np.int64], Rollouts]]) -> Rollouts:
    """Put batches, each with the places of its prompts, into prompt order."""
    order = np.argsort(np.concatenate([place for place, _ in batches]))
    parts = [part for _, part in batches]

    def lists(name: str) -> list[NDArray[np.int64]]:
        return [row for part in parts for row in getattr(part, name)]

    def arrays(name: str) -> NDArray[np.float64]:
        return np.concatenate([getattr(part, name) for part in parts])

    as_they_came = Rollouts(
        tokens=lists("tokens"),
        nll=arrays("nll"),
        length=arrays("length").astype(np.int64),
        ending=arrays("ending").astype(np.int64),
        verdicts=None if parts[0].verdicts is None else lists("verdicts"),
        answer_logprobs=None if parts[0].answer_logprobs is None else arrays("answer_logprobs"),
    )
    return replace(
        as_they_came.of(order),
        generated=sum(part.generated for part in parts),
        seconds_generate=sum(part.seconds_generate for part in parts),
        seconds_verify=sum(part.seconds_verify for part in parts),
    )


class Engine(Protocol):
    """Samples responses and answers follow-up questions with the weights loaded last.

    Loaded are merged weights; an engine that adds adapters as it goes writes the one in training with `write_adapter`,
    and serves the initial weights without it. `rest` says that training is next: its memory is wanted until `load`.
    """

    def load(self, weights: Mapping[str, Tensor], write_adapter: WriteAdapter | None = None) -> None: ...

    def rest(self) -> None: ...

    def rollout(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        follow_up: FollowUp | None = None,
        on_batch: OnBatch | None = None,
        on_responses: OnResponses | None = None,
    ) -> Rollouts: ...

    def likelihood(
        self, prompts: Sequence[Prompt], responses: Sequence[Sequence[int]], on_batch: OnBatch | None = None
    ) -> NDArray[np.float64]: ...

    def answer_likelihoods(
        self, prompts: Sequence[Prompt], answers: Sequence[Sequence[int]], on_batch: OnBatch | None = None
    ) -> NDArray[np.float64]: ...
