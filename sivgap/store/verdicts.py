"""A judge with a memory: what was asked before is read, the rest is asked and stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sivgap.prompts import PromptWriter
from sivgap.store.parts import Parts
from sivgap.store.responses import prompt_names
from sivgap.tasks.problem import Problem
from sivgap.verifiers.judge import ModelJudge
from sivgap.verifiers.question import Answers, Questions, Responses

_KEY = ["first", "second", "repetition"]


@dataclass(frozen=True)
class RememberingJudge:
    """`judge`, whose answers about one model's stored responses lie in `parts`. `writer` is that model's."""

    judge: ModelJudge
    parts: Parts
    writer: PromptWriter

    def ask(self, responses: Responses, questions: Questions, stream: int, repetitions: int = 1) -> Answers:
        """As the judge would answer."""
        names = self._names(responses.problems)
        asked = pd.DataFrame(
            {"prompt": [names[p] for p in questions.problem], "first": questions.first, "second": questions.second}
        )
        known = self.parts.read(dict.fromkeys(asked["prompt"]), _KEY)
        made = [known] if len(known) else []
        have = np.minimum(_counts(asked, known), repetitions)
        for count in np.unique(have[have < repetitions]):
            missing = np.flatnonzero(have == count)
            answers = self.judge.ask(responses, questions.where(missing), stream, repetitions - count, int(count))
            new = _rows(asked.iloc[missing], answers, int(count))
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
