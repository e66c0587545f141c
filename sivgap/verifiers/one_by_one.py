"""Verifiers that look at one response at a time: ``qe``, ``tf``, ``mc``, ``cot_binary``, ``cot_score``."""

from __future__ import annotations

from dataclasses import dataclass

from sivgap.core.rollout import OnBatch
from sivgap.core.verification import Judge, Responses, Scores, about_each, scaled_progress


@dataclass(frozen=True)
class OneByOne:
    """The score of a response is the mean of `repetitions` answers about it (MG Appendix C)."""

    judge: Judge
    repetitions: int = 1

    def score(self, responses: Responses, stream: int, on_batch: OnBatch | None = None) -> Scores:
        problems, samples = responses.shape
        told = scaled_progress(on_batch, 1 / samples)
        answers = self.judge.ask(responses, about_each(problems, samples), stream, self.repetitions, told)
        each = answers.value.reshape(problems, samples, -1)
        return Scores(each.mean(-1), answers.unparsed.reshape(each.shape).mean(-1), each)
