"""A verifier: the solver's own weights, asked about a response. It scores each response between 0 and 1.

A verifier is a question (a prompt file), the answers it allows with the score of each (its YAML), and a parser of
sampled answers (one file here). An answer that cannot be parsed is neutral: 0.5 (THEORY section 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sivgap.config.locate import read_prompt
from sivgap.config.schema import VerifierConfig
from sivgap.engines.rollout import FollowUp, Rollouts
from sivgap.errors import RunError
from sivgap.prompts import PromptWriter
from sivgap.verifiers import qe, tf

NEUTRAL = 0.5
"""Score of an answer that cannot be parsed."""

PARSERS: dict[str, Callable[[str], float | None]] = {"qe": qe.parse_score, "tf": tf.parse_verdict}


@dataclass(frozen=True)
class Scores:
    """Scores in [0, 1] and whether each answer could not be parsed, both (P, N)."""

    values: NDArray[np.float64]
    unparsed: NDArray[np.bool_]


@dataclass(frozen=True)
class Verifier:
    """QE or TF with its question in tokens. `ask` goes to the engine with the rollout; `score` reads what came back."""

    ask: FollowUp
    parse: Callable[[str], float | None]
    answers: dict[str, float]
    writer: PromptWriter

    def score(self, rollouts: Rollouts) -> Scores:
        """Scores of rollouts that were sampled with `ask` as follow-up."""
        if rollouts.answer_logprobs is not None:
            likelihood = np.exp(rollouts.answer_logprobs - rollouts.answer_logprobs.max(-1, keepdims=True))
            values = likelihood @ np.array(list(self.answers.values())) / likelihood.sum(-1)
            return Scores(values, np.zeros(values.shape, dtype=bool))
        parsed = [self.parse(text) for text in self.writer.decode(rollouts.verdicts or [])]
        unparsed = np.array([score is None for score in parsed]).reshape(rollouts.nll.shape)
        values = np.array([NEUTRAL if score is None else score for score in parsed], dtype=np.float64)
        return Scores(values.reshape(rollouts.nll.shape), unparsed)

    def answer_for(self, score: float) -> str:
        """The allowed answer nearest to a true score."""
        return min(self.answers, key=lambda answer: abs(self.answers[answer] - score))


def make_verifier(config: VerifierConfig, writer: PromptWriter, temperature: float) -> Verifier:
    """The verifier of a configuration, its question written for one model.

    Raises:
        RunError: With ``readout=expected``, if one allowed answer's tokens begin another's.
    """
    answers = tuple(writer.encode_answer(text) for text in config.answers)
    if config.readout == "expected":
        for one in answers:
            for other in answers:
                if one is not other and other[: len(one)] == one:
                    raise RunError("verifier.answers: as tokens, one answer begins another; write them apart")
    ask = FollowUp(
        tokens=writer.follow_up(read_prompt(config.prompt)),
        temperature=temperature,
        max_new_tokens=config.max_new_tokens,
        answers=answers if config.readout == "expected" else (),
    )
    return Verifier(ask, PARSERS[config.name], dict(config.answers), writer)
