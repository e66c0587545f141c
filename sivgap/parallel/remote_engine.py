"""Engines of all ranks for a command that one rank alone carries out: it asks, the others serve.

An evaluation lives off what is stored: what is still to be sampled is known to the rank that reads the store. So it
sends every question with its prompts to all, and they answer it together (`engine.DataParallelEngine`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sivgap.core.rollout import Engine, FollowUp, OnBatch, OnResponses, Prompt, Rollouts, Sampling, WriteAdapter
from sivgap.errors import ConfigError, RunError, SivgapError, Stopped
from sivgap.parallel.group import Group

if TYPE_CHECKING:
    from torch import Tensor


class RemoteEngine:
    """`engine`, number `number` on every rank, as the first one uses it."""

    def __init__(self, engine: Engine, number: int, group: Group) -> None:
        self._engine, self._number, self._group = engine, number, group

    def load(self, weights: Mapping[str, Tensor], write_adapter: WriteAdapter | None = None) -> None:
        raise NotImplementedError("an evaluation never changes weights")

    def rest(self) -> None:
        self._engine.rest()

    def rollout(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        follow_up: FollowUp | None = None,
        on_batch: OnBatch | None = None,
        on_responses: OnResponses | None = None,
    ) -> Rollouts:
        """As `Engine.rollout`."""
        self._ask(prompts, sampling=asdict(sampling), follow_up=follow_up and asdict(follow_up))
        return self._engine.rollout(prompts, sampling, follow_up, on_batch, on_responses)

    def likelihood(
        self, prompts: Sequence[Prompt], responses: Sequence[Sequence[int]], on_batch: OnBatch | None = None
    ) -> NDArray[np.float64]:
        """As `Engine.likelihood`."""
        self._ask(prompts, responses=_lists(responses))
        return self._engine.likelihood(prompts, responses, on_batch)

    def answer_likelihoods(
        self, prompts: Sequence[Prompt], answers: Sequence[Sequence[int]], on_batch: OnBatch | None = None
    ) -> NDArray[np.float64]:
        """As `Engine.answer_likelihoods`."""
        self._ask(prompts, answers=_lists(answers))
        return self._engine.answer_likelihoods(prompts, answers, on_batch)

    def _ask(self, prompts: Sequence[Prompt], **what: Any) -> None:
        tokens, keys = _lists(prompt.tokens for prompt in prompts), [int(prompt.key) for prompt in prompts]
        _tell(self._group, {"engine": self._number, "tokens": tokens, "keys": keys, **what})


@contextmanager
def asking(group: Group, engines: Sequence[Engine]) -> Iterator[list[Engine]]:
    """On the first rank: `engines` for its use; at the end, however it comes, the others are told."""
    if group.size == 1:
        yield list(engines)
        return
    end: dict[str, Any] = {"status": 1, "text": "the first process failed"}
    try:
        yield [RemoteEngine(engine, number, group) for number, engine in enumerate(engines)]
        end = {"status": 0}
    except SivgapError as error:
        end = {"status": error.status, "text": str(error)}
        raise
    except BaseException as error:
        if not isinstance(error, Exception):  # a signal, before anything was at stake
            end = {"status": Stopped.status, "text": "stopped by a signal"}
        raise
    finally:
        _tell(group, {"end": end})


def serve(group: Group, engines: Sequence[Engine]) -> None:
    """On the other ranks: take part in answering until the first one has done.

    Raises:
        SivgapError: What ended it.
    """
    while "end" not in (asked := json.loads(group.gather(b"")[0])):
        with suppress(SivgapError):  # raised on the first rank as well, which tells how it ends
            _answer(engines[asked["engine"]], asked)
    end = asked["end"]
    if end["status"] != 0:
        kinds: dict[int, type[SivgapError]] = {Stopped.status: Stopped, ConfigError.status: ConfigError}
        raise kinds.get(end["status"], RunError)(end["text"])


def _answer(engine: Engine, asked: Mapping[str, Any]) -> None:
    prompts = [Prompt(tuple(tokens), key) for tokens, key in zip(asked["tokens"], asked["keys"], strict=True)]
    if "responses" in asked:
        engine.likelihood(prompts, asked["responses"])
    elif "answers" in asked:
        engine.answer_likelihoods(prompts, asked["answers"])
    else:
        engine.rollout(prompts, Sampling(**asked["sampling"]), _follow_up(asked["follow_up"]))


def _follow_up(told: Mapping[str, Any] | None) -> FollowUp | None:
    if told is None:
        return None
    answers = tuple(tuple(answer) for answer in told["answers"])
    return FollowUp(**{**told, "tokens": tuple(told["tokens"]), "answers": answers})


def _tell(group: Group, what: Mapping[str, Any]) -> None:
    group.gather(json.dumps(what, default=int).encode())  # numpy has integers of its own


def _lists(rows: Any) -> list[list[int]]:
    return [[int(token) for token in row] for row in rows]
