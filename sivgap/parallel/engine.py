"""An engine on every rank, used as one: prompts are dealt out, what comes back is put into prompt order.

The noise of a response belongs to its prompt (`engines.noise`), so responses do not depend on who samples them.
Likelihoods depend on the batch they were computed in by rounding alone, as with ``engine.batch_size``.

With ``engine.tensor_parallel`` consecutive ranks are teams that share an engine, and prompts are dealt to teams. Each
rank computes its part of every layer, so all of a team ask the same in the same order, and leave early together. They
wait for one another before it: GPUs that do so inside a step give up after minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sivgap.core.rollout import (
    Engine,
    FollowUp,
    OnBatch,
    OnResponses,
    Prompt,
    Rollouts,
    Sampling,
    WriteAdapter,
    gather,
)
from sivgap.errors import RunError, SivgapError, Stopped
from sivgap.parallel.deal import deal
from sivgap.parallel.group import ALONE, Group
from sivgap.parallel.packing import Arrays, arrays_of, pack, rollouts_of, unpack

if TYPE_CHECKING:
    from torch import Tensor


class DataParallelEngine:
    """The engines of all ranks of `group`; `engine` is this rank's, or its part of that of its `team`."""

    def __init__(self, engine: Engine, group: Group, team: Group = ALONE) -> None:
        self._engine, self._group, self._team = engine, group, team
        self._teams, self._number = group.size // team.size, group.rank // team.size

    def load(self, weights: Mapping[str, Tensor], write_adapter: WriteAdapter | None = None) -> None:
        self._team.wait()
        self._engine.load(weights, write_adapter)

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
        """As `Engine.rollout`; the seconds are those of the slowest rank, and `on_responses` hears of its own alone."""
        shares = deal([len(prompt.tokens) for prompt in prompts], self._teams)
        mine = [prompts[i] for i in shares[self._number]]
        told = self._told(on_batch, len(prompts), len(mine))
        ended = None if on_responses is None else _numbered(on_responses, shares[self._number], sampling.samples)
        found = self._all(
            lambda: arrays_of(self._engine.rollout(mine, sampling, follow_up, told, ended)) if mine else {}
        )
        parts = [(share, rollouts_of(part)) for share, part in zip(shares, found, strict=True) if len(share)]
        return replace(
            gather(parts),
            seconds_generate=max(part.seconds_generate for _, part in parts),
            seconds_verify=max(part.seconds_verify for _, part in parts),
        )

    def likelihood(
        self, prompts: Sequence[Prompt], responses: Sequence[Sequence[int]], on_batch: OnBatch | None = None
    ) -> NDArray[np.float64]:
        """As `Engine.likelihood`."""
        costs = [len(prompt.tokens) + len(response) for prompt, response in zip(prompts, responses, strict=True)]

        def work(mine: NDArray[np.int64], told: OnBatch | None) -> NDArray[np.float64]:
            return self._engine.likelihood([prompts[i] for i in mine], [responses[i] for i in mine], told)

        return self._dealt(costs, (len(prompts),), work, on_batch)

    def answer_likelihoods(
        self, prompts: Sequence[Prompt], answers: Sequence[Sequence[int]], on_batch: OnBatch | None = None
    ) -> NDArray[np.float64]:
        """As `Engine.answer_likelihoods`."""

        def work(mine: NDArray[np.int64], told: OnBatch | None) -> NDArray[np.float64]:
            return self._engine.answer_likelihoods([prompts[i] for i in mine], answers, told)

        return self._dealt([len(prompt.tokens) for prompt in prompts], (len(prompts), len(answers)), work, on_batch)

    def _dealt(
        self,
        costs: Sequence[int],
        shape: tuple[int, ...],
        work: Callable[[NDArray[np.int64], OnBatch | None], NDArray[np.float64]],
        on_batch: OnBatch | None,
    ) -> NDArray[np.float64]:
        """An array of `shape` whose rows each team computes its share of, by `work` on their places."""
        shares = deal(costs, self._teams)
        mine = shares[self._number]
        told = self._told(on_batch, len(costs), len(mine))
        found = self._all(lambda: {"values": work(mine, told)})
        values = np.zeros(shape)
        for share, part in zip(shares, found, strict=True):
            values[share] = part["values"]
        return values

    def _all(self, work: Callable[[], Arrays]) -> list[dict[str, NDArray[np.generic]]]:
        """What `work` comes to in every team, told by its first rank."""

        def told() -> Arrays:
            self._team.wait()
            done = work()
            return done if self._team.leads else {}

        return _together(self._group, told)[:: self._team.size]

    def _told(self, on_batch: OnBatch | None, prompts: int, mine: int) -> OnBatch:
        """Shows a rank's progress as that of all: they take about as long. What ends one rank of a team here ends all
        of it, before a step in which the others would wait for its part.
        """

        def show(done: float, tokens: int) -> Arrays:
            if on_batch is not None:
                on_batch(done * prompts / mine, round(tokens * prompts / mine))
            return {}

        def told(done: float, tokens: int) -> None:
            if self._team.size == 1:
                show(done, tokens)
            else:
                _together(self._team, lambda: show(done, tokens))

        return told


def _numbered(on_responses: OnResponses, share: NDArray[np.int64], samples: int) -> OnResponses:
    """Tells of responses to the prompts `share` by their numbers among all."""
    return lambda numbers, part: on_responses(share[numbers // samples] * samples + numbers % samples, part)


def _together(group: Group, work: Callable[[], Arrays]) -> list[dict[str, NDArray[np.generic]]]:
    """What `work` comes to on every rank. A rank that ends in it, stopped for one, says so, and all end alike: nobody
    is left waiting for it.
    """
    try:
        mine = pack(work())
    except SivgapError as error:
        mine = pack({"error": np.array([str(int(isinstance(error, Stopped))), str(error)])})
    found = [unpack(part) for part in group.gather(mine)]
    for part in found:
        if "error" in part:
            stopped, text = map(str, part["error"])
            raise Stopped(text) if stopped == "1" else RunError(text)
    return found
