"""Responses to problems: those that are stored, and the missing ones sampled and stored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sivgap.engines.rollout import Engine, OnBatch, Prompt, Rollouts, Sampling
from sivgap.prompts import PromptWriter
from sivgap.store.parts import Parts
from sivgap.tasks.problem import Problem
from sivgap.verifiers.question import Responses


@dataclass(frozen=True)
class Stored:
    """N responses to each of P problems, with what sampling knew of them; arrays (P, N).

    Attributes:
        nll: U(y|x), nats (SV Eq. 3).
        length: Response tokens, those that end it included.
        finished: Whether it ended by itself.
        generated: Tokens that had to be sampled for it now.
    """

    responses: Responses
    nll: NDArray[np.float64]
    length: NDArray[np.int64]
    finished: NDArray[np.bool_]
    generated: int


@dataclass(frozen=True)
class ResponseStore:
    """The responses of one model, sampled one way, to any problems.

    The noise of a response belongs to its problem and its number, so 128 responses are the 8 asked for yesterday and
    120 more.
    """

    parts: Parts
    engine: Engine
    writer: PromptWriter
    sampling: Sampling

    def get(self, problems: Sequence[Problem], on_batch: OnBatch | None = None) -> Stored:
        """`sampling.samples` responses to each problem."""
        prompts = [self.writer.solve(problem) for problem in problems]
        names = prompt_names(problems, prompts)
        rows = self.parts.read(names, ["sample"])
        stored = rows.groupby("prompt")["sample"].max() + 1 if len(rows) else pd.Series(dtype=int)
        have = np.minimum([int(stored.get(name, 0)) for name in names], self.sampling.samples)
        made = [rows]
        generated = 0
        for count in np.unique(have[have < self.sampling.samples]):
            places = [i for i, stored in enumerate(have) if stored == count]
            sampling = Sampling(
                **{**vars(self.sampling), "first": int(count), "samples": self.sampling.samples - count}
            )
            rollouts = self.engine.rollout([prompts[i] for i in places], sampling, None, on_batch)
            new = self._rows([problems[i] for i in places], [names[i] for i in places], rollouts, int(count))
            self.parts.add(new)
            made.append(new)
            generated += rollouts.generated
        return self._in_order(problems, names, pd.concat(made, ignore_index=True), generated)

    def _rows(self, problems: Sequence[Problem], names: Sequence[str], rollouts: Rollouts, first: int) -> pd.DataFrame:
        samples = rollouts.nll.shape[1]
        return pd.DataFrame(
            {
                "prompt": np.repeat(names, samples),
                "problem_id": np.repeat([problem.id for problem in problems], samples),
                "sample": np.tile(np.arange(first, first + samples), len(problems)),
                "text": self.writer.decode(rollouts.bodies),
                "tokens": list(rollouts.tokens),
                "ending": rollouts.ending.ravel(),
                "nll": rollouts.nll.ravel(),
                "length": rollouts.length.ravel(),
            }
        )

    def _in_order(
        self, problems: Sequence[Problem], names: Sequence[str], rows: pd.DataFrame, generated: int
    ) -> Stored:
        place = {name: i for i, name in enumerate(names)}
        rows = rows[rows["sample"] < self.sampling.samples]
        rows = rows.iloc[np.lexsort((rows["sample"], rows["prompt"].map(place)))]
        shape = (len(problems), self.sampling.samples)
        ending = rows["ending"].to_numpy(np.int64)
        bodies = [np.asarray(t, np.int64)[: len(t) - end] for t, end in zip(rows["tokens"], ending, strict=True)]
        return Stored(
            Responses(problems, list(rows["text"]), bodies),
            rows["nll"].to_numpy(np.float64).reshape(shape),
            rows["length"].to_numpy(np.int64).reshape(shape),
            (ending > 0).reshape(shape),
            generated,
        )


def prompt_names(problems: Sequence[Problem], prompts: Sequence[Prompt]) -> list[str]:
    """What responses are stored under: the problem's id and the exact tokens that it was put in."""
    return [
        hashlib.sha256(f"{problem.id} {prompt.tokens}".encode()).hexdigest()[:16]
        for problem, prompt in zip(problems, prompts, strict=True)
    ]
