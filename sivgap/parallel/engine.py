"""An engine on every rank, used as one: prompts are dealt out, what comes back is put into prompt order.

The noise of a response belongs to its prompt (`engines.noise`), so responses do not depend on who samples them.
Likelihoods depend on the batch they were computed in by rounding alone, as with ``engine.batch_size``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sivgap.engines.rollout import Engine, FollowUp, OnBatch, Prompt, Rollouts, Sampling, WriteAdapter, gather
from sivgap.errors import RunError, SivgapError, Stopped
from sivgap.parallel.deal import deal
from sivgap.parallel.group import Group
from sivgap.parallel.packing import Arrays, arrays_of, pack, rollouts_of, unpack

if TYPE_CHECKING:
    from torch import Tensor


class Dealt:
    """The engines of all ranks of `group`; `engine` is this rank's."""

    def __init__(self, engine: Engine, group: Group) -> None:
        self._engine, self._group = engine, group

    def load(self, weights: Mapping[str, Tensor], write_adapter: WriteAdapter | None = None) -> None:
        self._engine.load(weights, write_adapter)

    def rest(self) -> None:
        self._engine.rest()

    def rollout(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        follow_up: FollowUp | None = None,
        on_batch: OnBatch | None = None,
    ) -> Rollouts:
        """As `Engine.rollout`; the seconds are those of the slowest rank."""
        shares = deal([len(prompt.tokens) for prompt in prompts], self._group.size)
        mine = [prompts[i] for i in shares[self._group.rank]]
        told = _scaled(on_batch, len(prompts), len(mine))
        found = self._all(lambda: arrays_of(self._engine.rollout(mine, sampling, follow_up, told)) if mine else {})
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
        """An array of `shape` whose rows each rank computes its share of, by `work` on their places."""
        shares = deal(costs, self._group.size)
        mine = shares[self._group.rank]
        told = _scaled(on_batch, len(costs), len(mine))
        found = self._all(lambda: {"values": work(mine, told)})
        values = np.zeros(shape)
        for share, part in zip(shares, found, strict=True):
            values[share] = part["values"]
        return values

    def _all(self, work: Callable[[], Arrays]) -> list[dict[str, NDArray[np.generic]]]:
        """What `work` comes to on every rank. A rank that ends in it, stopped for one, says so, and all end alike:
        nobody is left waiting for it.
        """
        try:
            mine = pack(work())
        except SivgapError as error:
            mine = pack({"error": np.array([str(int(isinstance(error, Stopped))), str(error)])})
        found = [unpack(part) for part in self._group.gather(mine)]
        for part in found:
            if "error" in part:
                stopped, text = map(str, part["error"])
                raise Stopped(text) if stopped == "1" else RunError(text)
        return found


def _scaled(on_batch: OnBatch | None, prompts: int, mine: int) -> OnBatch | None:
    """Shows a rank's progress as that of all: they take about as long."""
    if on_batch is None:
        return None
    return lambda done, tokens: on_batch(round(done * prompts / mine), round(tokens * prompts / mine))
