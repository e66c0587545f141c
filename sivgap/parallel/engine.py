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

from sivgap.engines.rollout import Engine, FollowUp, OnBatch, Prompt, Rollouts, Sampling, gather
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

    def load(self, weights: Mapping[str, Tensor]) -> None:
        self._engine.load(weights)

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
        texts = zip(prompts, responses, strict=True)
        shares = deal([len(prompt.tokens) + len(response) for prompt, response in texts], self._group.size)
        mine = shares[self._group.rank]
        told = _scaled(on_batch, len(prompts), len(mine))
        found = self._all(
            lambda: {"nll": self._engine.likelihood([prompts[i] for i in mine], [responses[i] for i in mine], told)}
        )
        nll = np.zeros(len(prompts))
        for share, part in zip(shares, found, strict=True):
            nll[share] = part["nll"]
        return nll

    def answer_likelihoods(
        self, prompts: Sequence[Prompt], answers: Sequence[Sequence[int]], on_batch: OnBatch | None = None
    ) -> NDArray[np.float64]:
        """As `Engine.answer_likelihoods`."""
        shares = deal([len(prompt.tokens) for prompt in prompts], self._group.size)
        mine = [prompts[i] for i in shares[self._group.rank]]
        told = _scaled(on_batch, len(prompts), len(mine))
        found = self._all(lambda: {"logprobs": self._engine.answer_likelihoods(mine, answers, told)})
        logprobs = np.zeros((len(prompts), len(answers)))
        for share, part in zip(shares, found, strict=True):
            logprobs[share] = part["logprobs"]
        return logprobs

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
