"""A judge with a memory: what was asked before is read, the rest is asked and stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sivgap.core.problem import Problem
from sivgap.core.rollout import OnBatch, Rollouts
from sivgap.core.verification import NOBODY, Answers, Questions, Responses
from sivgap.models.prompts import PromptWriter
from sivgap.store.parts import Parts
from sivgap.store.responses import prompt_names
from sivgap.verifiers.judge import ModelJudge
from sivgap.verifiers.verifier import FusedVerifier

_KEY = ["first", "second", "repetition"]
_AT_ONCE = 256
"""Questions between two writes: what a kill may lose."""


@dataclass(frozen=True)
class RememberingJudge:
    """`judge`, whose answers about one model's stored responses lie in `parts`. `writer` is that model's."""

    judge: ModelJudge
    parts: Parts
    writer: PromptWriter

    def ask(
        self,
        responses: Responses,
        questions: Questions,
        stream: int,
        repetitions: int = 1,
        on_batch: OnBatch | None = None,
    ) -> Answers:
        """As the judge would answer. What it has answered is stored before it is asked for more."""
        names = self._names(responses.problems)
        asked = pd.DataFrame(
            {"prompt": [names[p] for p in questions.problem], "first": questions.first, "second": questions.second}
        )
        known = self.parts.read(dict.fromkeys(asked["prompt"]), _KEY)
        made = [known] if len(known) else []
        have = np.minimum(_counts(asked, known), repetitions)
        for count in np.unique(have[have < repetitions]):
            missing = np.flatnonzero(have == count)
            for start in range(0, len(missing), _AT_ONCE):
                some, more = missing[start : start + _AT_ONCE], repetitions - int(count)
                answers = self.judge.ask(responses, questions.where(some), stream, more, on_batch, int(count))
                new = _rows(asked.iloc[some], answers, int(count))
                self.parts.add(new)
                made.append(new)
        wanted = asked.loc[asked.index.repeat(repetitions)].reset_index(drop=True)
        wanted["repetition"] = np.tile(np.arange(repetitions), len(asked))
        found = wanted.merge(pd.concat(made, ignore_index=True), on=["prompt", *_KEY], how="left", validate="m:1")
        shape = (len(asked), repetitions)
        return Answers(
            found["value"].to_numpy(np.float64).reshape(shape),
            found["unparsed"].to_numpy(bool).reshape(shape),
            list(found["said"]),
        )

    def _names(self, problems: Sequence[Problem]) -> list[str]:
        return prompt_names(problems, [self.writer.solve(problem) for problem in problems])


@dataclass(frozen=True)
class FusedVerdicts:
    """Verdicts that come with the responses, in the pass that samples them, kept in `parts` as if asked for later."""

    in_pass: FusedVerifier
    parts: Parts

    def add(self, prompts: Sequence[str], rollouts: Rollouts, first: int) -> None:
        """Store the verdicts on responses number `first`, `first` + 1, ... to each of `prompts`."""
        samples = rollouts.nll.shape[1]
        asked = pd.DataFrame(
            {
                "prompt": np.repeat(np.array(prompts, dtype=object), samples),
                "first": np.tile(np.arange(first, first + samples), len(prompts)),
                "second": NOBODY,
            }
        )
        scores, said = self.in_pass.read(rollouts), self.in_pass.said(rollouts)
        values, unparsed = scores.values.reshape(-1, 1), scores.unparsed.reshape(-1, 1) > 0
        self.parts.add(_rows(asked, Answers(values, unparsed, said), 0))


def _counts(asked: pd.DataFrame, known: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """How many answers to each question there are."""
    if not len(known):
        return np.zeros(len(asked), dtype=np.int64)
    counts = known.groupby(["prompt", "first", "second"])["repetition"].max().add(1).rename("count").reset_index()
    found = asked.merge(counts, on=["prompt", "first", "second"], how="left")["count"]
    return found.fillna(0).to_numpy(np.int64)  # type: ignore[return-value]


def _rows(asked: pd.DataFrame, answers: Answers, first: int) -> pd.DataFrame:
    repetitions = answers.value.shape[1]
    rows = asked.loc[asked.index.repeat(repetitions)].reset_index(drop=True)
    return rows.assign(
        repetition=np.tile(np.arange(first, first + repetitions), len(asked)),
        value=answers.value.ravel(),
        unparsed=answers.unparsed.ravel(),
        said=answers.said,
    )
