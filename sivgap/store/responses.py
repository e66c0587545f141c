"""Responses to problems: those that are stored, and the missing ones sampled and stored."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sivgap.core.problem import Problem
from sivgap.core.rollout import Engine, OnBatch, Prompt, Rollouts, Sampling
from sivgap.core.verification import Responses
from sivgap.models.prompts import PromptWriter
from sivgap.store.parts import Parts

if TYPE_CHECKING:
    from sivgap.store.verdicts import FusedVerdicts


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
    120 more. With `verdicts` those that are sampled are judged from the states they were sampled with.
    """

    parts: Parts
    engine: Engine
    writer: PromptWriter
    sampling: Sampling
    verdicts: FusedVerdicts | None = None

    def get(self, problems: Sequence[Problem], on_batch: OnBatch | None = None) -> Stored:
        """`sampling.samples` responses to each problem. Those that ended are stored whatever happens to the others."""
        prompts = [self.writer.solve(problem) for problem in problems]
        names = prompt_names(problems, prompts)
        rows = self.parts.read(names, ["sample"])
        stored = _complete(rows)
        have = np.minimum([stored.get(name, 0) for name in names], self.sampling.samples)
        known = set(zip(rows["prompt"], rows["sample"], strict=True)) if len(rows) else set()
        made = [rows]
        generated = 0
        for count in np.unique(have[have < self.sampling.samples]):
            places = [i for i, stored in enumerate(have) if stored == count]
            sampling = Sampling(
                **{**vars(self.sampling), "first": int(count), "samples": self.sampling.samples - count}
            )
            rows_of = partial(self._rows, [problems[i] for i in places], [names[i] for i in places], sampling)
            keep = partial(self._keep, rows_of, known)
            ask = None if self.verdicts is None else self.verdicts.in_pass.ask
            rollouts = self.engine.rollout([prompts[i] for i in places], sampling, ask, on_batch, keep)
            new = self._keep(rows_of, known, np.arange(rollouts.nll.size), rollouts)
            if self.verdicts is not None:
                self.verdicts.add([names[i] for i in places], rollouts, int(count))
            made.append(new)
            generated += rollouts.generated
        return self._in_order(problems, names, pd.concat(made, ignore_index=True), generated)

    def _keep(
        self,
        rows_of: Callable[[Rollouts, NDArray[np.int64]], pd.DataFrame],
        known: set[tuple[str, int]],
        numbers: NDArray[np.int64],
        rollouts: Rollouts,
    ) -> pd.DataFrame:
        """Store the responses number `numbers`, but for the `known` ones; the rows of all of them."""
        rows = rows_of(rollouts, numbers)
        names = list(zip(rows["prompt"], rows["sample"], strict=True))
        new = np.array([name not in known for name in names], dtype=bool)
        if new.any():
            self.parts.add(rows[new])
            known.update(names)
        return rows

    def _rows(
        self,
        problems: Sequence[Problem],
        names: Sequence[str],
        sampling: Sampling,
        rollouts: Rollouts,
        numbers: NDArray[np.int64],
    ) -> pd.DataFrame:
        """One row a response, of which `numbers` says the prompt p and the sample n: p x N + n."""
        prompt, sample = np.divmod(numbers, sampling.samples)
        return pd.DataFrame(
            {
                "prompt": np.array(names, dtype=object)[prompt],
                "problem_id": np.array([problem.id for problem in problems], dtype=object)[prompt],
                "sample": sampling.first + sample,
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
        rows = rows[rows["sample"] < self.sampling.samples].drop_duplicates(["prompt", "sample"])
        rows = rows.iloc[np.lexsort((rows["sample"], rows["prompt"].map(place)))]
        shape = (len(problems), self.sampling.samples)
        ending = rows["ending"].to_numpy(np.int64)
        bodies = [np.asarray(t, np.int64)[: len(t) - end] for t, end in zip(rows["tokens"], ending, strict=True)]
        nll = rows["nll"].to_numpy(np.float64).reshape(shape)
        length = rows["length"].to_numpy(np.int64).reshape(shape)
        return Stored(
            Responses(problems, list(rows["text"]), bodies, nll, length),
            nll,
            length,
            (ending > 0).reshape(shape),
            generated,
        )


def _complete(rows: pd.DataFrame) -> dict[str, int]:
    """How many responses to each prompt there are without a gap: 0, 1, 2, ..."""
    if not len(rows):
        return {}
    samples = rows[["prompt", "sample"]].sort_values(["prompt", "sample"])
    return dict((samples["sample"] == samples.groupby("prompt").cumcount()).groupby(samples["prompt"]).sum())


def prompt_names(problems: Sequence[Problem], prompts: Sequence[Prompt]) -> list[str]:
    """What responses are stored under: the problem's id and the exact tokens that it was put in."""
    return [
        hashlib.sha256(f"{problem.id} {prompt.tokens}".encode()).hexdigest()[:16]
        for problem, prompt in zip(problems, prompts, strict=True)
    ]
