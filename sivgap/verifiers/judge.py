"""A language model as judge: writes each question as a prompt, asks the engine, and reads what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sivgap.config.verifier import VerifierConfig
from sivgap.core.rollout import Engine, OnBatch, Prompt, Sampling
from sivgap.core.verification import Answers, Questions, Responses, neutral, scaled_progress
from sivgap.errors import RunError
from sivgap.models.prompts import PromptWriter
from sivgap.runtime.rng import derive_key, row_keys
from sivgap.verifiers.parse import Parser


def verdict_stream(verifier: str) -> int:
    """The noise of a verifier's sampled verdicts; beside it the key of the response that they are about decides."""
    return derive_key("verdict", verifier)


@dataclass(frozen=True)
class ModelJudge:
    """Asks a model the question of one verifier.

    With ``readout=sampled`` it writes an answer, justification included, and the verdict is parsed. With ``expected``
    the verdict is the mean over the allowed answers, by their likelihoods, where the answer stands: at once, or behind
    a justification that ends in `config.heading`.

    Attributes:
        own: Whether the responses' tokens are this model's own, so that it can read them as they were written.
        end_token: What ends its answers.
    """

    engine: Engine
    writer: PromptWriter
    config: VerifierConfig
    template: str
    parse: Parser
    temperature: float
    top_p: float
    own: bool
    end_token: int

    def ask(
        self,
        responses: Responses,
        questions: Questions,
        stream: int,
        repetitions: int = 1,
        on_batch: OnBatch | None = None,
        first_repetition: int = 0,
    ) -> Answers:
        """`repetitions` answers to each question, from number `first_repetition` on.

        The same question gets the same answers, whoever asks with it; about a response that was drawn with the noise of
        `stream`, those that it gets in the pass that draws it (`verifier.FusedVerifier`).
        """
        prompts = self._prompts(responses, questions, stream)
        if self.config.readout == "expected" and self.config.heading is None:
            once = self._expected(prompts, self.lead, on_batch)
            shape = (len(questions), repetitions)
            return Answers(
                np.broadcast_to(once[:, None], shape).copy(), np.zeros(shape, dtype=bool), [""] * int(np.prod(shape))
            )
        sampling = Sampling(
            repetitions,
            self.temperature,
            self.config.max_new_tokens,
            verdict_stream(self.config.name),
            self.top_p,
            first_repetition,
        )
        bodies = self.engine.rollout(prompts, sampling, on_batch=on_batch).bodies
        said = self.writer.decode(bodies)
        if self.config.readout == "sampled":
            values = [self.parse(text) for text in said]
        else:
            values = self._behind_heading([prompt for prompt in prompts for _ in range(repetitions)], bodies)
        value, unparsed = neutral(values)
        return Answers(value.reshape(-1, repetitions), unparsed.reshape(-1, repetitions), said)

    def _prompts(self, responses: Responses, questions: Questions, stream: int) -> list[Prompt]:
        samples = responses.shape[1]
        keys = row_keys(stream, np.array([derive_key(p.id) for p in responses.problems], np.uint64), samples)
        written: list[Prompt] = []
        for p, a, b in zip(questions.problem, questions.first, questions.second, strict=True):
            problem = responses.problems[p]
            shown = [int(n) for n in (a, b) if n >= 0]
            rows = [p * samples + n for n in shown]
            bodies = [responses.bodies[row] for row in rows] if self.own and responses.bodies is not None else None
            tokens = self.writer.judgement(problem, self.template, [responses.texts[row] for row in rows], bodies)
            key = keys[p, a] if b < 0 else derive_key(stream, problem.id, *shown)
            written.append(Prompt(tokens, int(key)))
        return written

    def _behind_heading(self, prompts: Sequence[Prompt], bodies: Sequence[NDArray[np.int64]]) -> list[float | None]:
        """Expected verdicts where each text has said the heading; None where it has not."""
        found: list[float | None] = [None] * len(bodies)
        ends = [self._end_of_heading(body) for body in bodies]
        for spaced in (False, True):  # whether the model's own tokens for the heading hold the space behind it
            places = [i for i, end in enumerate(ends) if end is not None and end[1] == spaced]
            if not places:
                continue
            asked = [Prompt((*prompts[i].tokens, *map(int, bodies[i][: ends[i][0]])), prompts[i].key) for i in places]  # type: ignore[index]
            for i, value in zip(places, self._expected(asked, "" if spaced else " "), strict=True):
                found[i] = float(value)
        return found

    def _end_of_heading(self, body: NDArray[np.int64]) -> tuple[int, bool] | None:
        """How many tokens of `body` lead up to the verdict, and whether a space behind the heading is among them."""
        heading = (self.config.heading or "").lower()

        def begins(count: int) -> str:
            return self.writer.decode([body[:count]])[0].lower()

        whole = begins(len(body))
        if heading not in whole:
            return None
        place = whole.rfind(heading) + len(heading)
        count = len(body)
        while count and len(begins(count - 1)) >= place:
            count -= 1
        return count, begins(count)[place:].isspace()

    def _expected(
        self, prompts: Sequence[Prompt], lead: str = "", on_batch: OnBatch | None = None
    ) -> NDArray[np.float64]:
        """Mean over the allowed answers, `lead` before each, for every prompt; equal prompts are asked once."""
        unique = list(dict.fromkeys(prompt.tokens for prompt in prompts))
        told = scaled_progress(on_batch, len(prompts) / max(len(unique), 1))
        logprobs = self.engine.answer_likelihoods([Prompt(tokens, 0) for tokens in unique], self.allowed(lead), told)
        by_tokens = dict(zip(unique, expected_value(logprobs, self.config), strict=True))
        return np.array([by_tokens[prompt.tokens] for prompt in prompts])

    @property
    def lead(self) -> str:
        """What stands before each allowed answer where it follows the question at once."""
        return self.writer.lead(self.template, self.config.answers)

    def allowed(self, lead: str = "") -> tuple[tuple[int, ...], ...]:
        """The allowed answers as tokens, `lead` before each.

        Raises:
            RunError: If one answer's tokens begin another's: they could not be told apart.
        """
        answers = tuple(self.writer.encode_answer(lead + text) for text in self.config.answers)
        if _one_begins_another(answers) and self.config.heading is not None:
            answers = tuple((*answer, self.end_token) for answer in answers)  # a last line: 1 ends where 10 goes on
        if _one_begins_another(answers):
            raise RunError("verifier.answers: as tokens, one answer begins another; write them apart")
        return answers


def _one_begins_another(answers: Sequence[tuple[int, ...]]) -> bool:
    return any(one is not other and other[: len(one)] == one for one in answers for other in answers)


def expected_value(logprobs: NDArray[np.float64], config: VerifierConfig) -> NDArray[np.float64]:
    """Mean value of the allowed answers under their log-likelihoods (..., A), normalised among them: (...,)."""
    likelihood = np.exp(logprobs - logprobs.max(-1, keepdims=True))
    return likelihood @ np.array(list(config.answers.values())) / likelihood.sum(-1)  # type: ignore[no-any-return]
