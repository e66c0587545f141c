"""Rollouts under way: each response, then what is asked about it, as vLLM completes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from sivgap.core.rollout import NOT_FINITE, FollowUp, Prompt, Rollouts, Sampling
from sivgap.engines.stop import StopText
from sivgap.engines.vllm_ask import AnswerTree, sampled
from sivgap.engines.vllm_queue import RESPONSE, Request
from sivgap.errors import RunError
from sivgap.runtime.rng import row_keys

if TYPE_CHECKING:
    from vllm import CompletionOutput


class Drawing:
    """What `Rollouts` will hold, row by row; row p x N + n is response n to prompt p.

    Attributes:
        ready: Prompts all of whose responses are complete, with their follow-up.
        generated: Tokens generated so far.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        follow_up: FollowUp | None,
        end_tokens: list[int],
        stop: StopText | None,
    ) -> None:
        self._prompts, self._sampling, self._follow_up = prompts, sampling, follow_up
        self._end, self._stop = end_tokens, stop
        prompt_keys = np.array([prompt.key for prompt in prompts], dtype=np.uint64)
        self._keys = row_keys(sampling.stream, prompt_keys, sampling.samples, sampling.first)
        rows = self._keys.size
        self._tree = AnswerTree(follow_up.answers if follow_up is not None else ())
        self._tokens: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)] * rows
        self._verdicts = list(self._tokens)
        self._nll, self._ending = np.zeros(rows), np.zeros(rows, dtype=np.int64)
        self._logprobs = np.zeros((rows, len(self._tree.answers)))
        asked = 0 if follow_up is None else max(1, len(self._tree.nodes))
        self._open = np.full(len(prompts), sampling.samples * (1 + asked))
        self.ready = self.generated = 0

    def responses(self) -> Iterator[Request]:
        """The requests for all responses."""
        how, seeds = self._sampling, self._keys.ravel()
        stops = None if self._stop is None else self._stop.stops
        for row, seed in enumerate(map(int, seeds)):
            params = sampled(how.temperature, how.max_new_tokens, seed, self._end, how.top_p, stops)
            yield Request(self._prompts[row // how.samples].tokens, params, row, RESPONSE)

    def take(self, asked: Request, said: CompletionOutput) -> Iterator[Request]:
        """Keep what was `said`; what is to be asked about it next."""
        row, prompt = asked.row, asked.row // self._sampling.samples
        self._open[prompt] -= 1
        self.ready += int(self._open[prompt] == 0)
        if asked.part != RESPONSE and self._tree.answers:
            return self._tree.add(self._logprobs[row], asked.part, said)
        tokens = np.array(said.token_ids, dtype=np.int64)
        self.generated += len(tokens)
        if asked.part != RESPONSE:
            self._verdicts[row] = tokens[: len(tokens) - (said.finish_reason == "stop")]
            return None
        self._tokens[row], self._nll[row] = tokens, -said.cumulative_logprob
        self._ending[row] = self._ends(said)
        if self._follow_up is not None:
            yield from self._questions(row, self._follow_up)

    def _questions(self, row: int, ask: FollowUp) -> Iterator[Request]:
        body = self._tokens[row][: len(self._tokens[row]) - self._ending[row]].tolist()
        context = [*self._prompts[row // self._sampling.samples].tokens, *body, *ask.tokens]
        if self._tree.answers:
            yield from self._tree.asked(context, row)
        else:
            seed = int(row_keys(ask.stream, self._keys.ravel()[row : row + 1], 1)[0, 0])
            yield Request(context, sampled(ask.temperature, ask.max_new_tokens, seed, self._end, ask.top_p), row)

    def _ends(self, said: CompletionOutput) -> int:
        """How many tokens at the end of a response only end it."""
        if said.finish_reason != "stop":
            return 0
        if not isinstance(said.stop_reason, str) or self._stop is None:
            return 1
        tokens = torch.tensor([list(said.token_ids)])
        found = dict(self._stop.ended(tokens, torch.tensor([tokens.shape[1]]), torch.tensor([0])))
        return found.get(0, 1)

    def ended(self, reported: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Rollouts] | None:
        """Responses that are complete, without the `reported` ones."""
        rows = np.flatnonzero([len(tokens) > 0 for tokens in self._tokens] & ~reported)
        if not len(rows):
            return None
        length = np.array([len(self._tokens[row]) for row in rows], dtype=np.int64)[:, None]
        return rows, Rollouts(
            [self._tokens[row] for row in rows], self._nll[rows, None], length, self._ending[rows, None]
        )

    def result(self, seconds_respond: float, seconds_ask: float) -> Rollouts:
        """All of it. Raises RunError if a likelihood is not finite."""
        if not np.isfinite(self._nll).all():
            raise RunError(NOT_FINITE)
        shape = self._keys.shape
        found = Rollouts(
            tokens=self._tokens,
            nll=self._nll.reshape(shape),
            length=np.array([len(row) for row in self._tokens], dtype=np.int64).reshape(shape),
            ending=self._ending.reshape(shape),
            generated=self.generated,
            seconds_generate=seconds_respond,
            seconds_verify=seconds_ask,
        )
        if self._follow_up is None:
            return found
        if self._tree.answers:
            return replace(found, answer_logprobs=self._logprobs.reshape(*shape, -1))
        return replace(found, verdicts=self._verdicts)
