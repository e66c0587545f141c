"""What a verifier asks about responses, and what a judge answers. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sivgap.core.problem import Problem
from sivgap.core.rollout import OnBatch

NEUTRAL = 0.5
"""Value of an answer that cannot be parsed (THEORY section 1)."""

NOBODY = -1
"""In place of a second response, where a question is about one alone."""


@dataclass(frozen=True)
class Responses:
    """N responses to each of P problems, problem-major.

    Attributes:
        problems: P of them.
        texts: P x N, without what ended them.
        bodies: The same as the tokens that the judge itself wrote, where it did; otherwise it reads the texts.
        nll, length: U(y|x) in nats and tokens of each, (P, N), where the solver's likelihoods are known.
    """

    problems: Sequence[Problem]
    texts: Sequence[str]
    bodies: Sequence[NDArray[np.int64]] | None = None
    nll: NDArray[np.float64] | None = None
    length: NDArray[np.int64] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.problems), len(self.texts) // len(self.problems)


@dataclass(frozen=True)
class Questions:
    """Q questions, each about response `first` to problem `problem`, or whether it is better than `second`; (Q,)."""

    problem: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.problem)

    def where(self, kept: NDArray[np.bool_] | NDArray[np.int64]) -> Questions:
        return Questions(self.problem[kept], self.first[kept], self.second[kept])


@dataclass(frozen=True)
class Answers:
    """M answers to each of Q questions.

    Attributes:
        value: In [0, 1]: how good the response is, or how surely the first one is better, (Q, M).
        unparsed: Whether an answer could not be read; its value is then `NEUTRAL`, (Q, M).
        said: What the judge wrote, Q x M, question-major; empty texts where likelihoods were read.
    """

    value: NDArray[np.float64]
    unparsed: NDArray[np.bool_]
    said: list[str]


class Judge(Protocol):
    """Answers questions about responses, `repetitions` times each; `on_batch` hears of the questions that are done."""

    def ask(
        self,
        responses: Responses,
        questions: Questions,
        stream: int,
        repetitions: int = 1,
        on_batch: OnBatch | None = None,
    ) -> Answers: ...


@dataclass(frozen=True)
class Scores:
    """Scores in [0, 1], and the share of the answers behind each that could not be parsed, both (P, N).

    Attributes:
        each: The answers that a score is the mean of, (P, N, M), where responses were asked about one by one.
        notes: What else a verifier has to say of itself, by name.
    """

    values: NDArray[np.float64]
    unparsed: NDArray[np.float64]
    each: NDArray[np.float64] | None = None
    notes: dict[str, float] = field(default_factory=dict)

    def of(self, problems: Sequence[int] | NDArray[np.int64]) -> Scores:
        """Those of some of the problems; `notes` are about all of them."""
        places = np.asarray(problems, dtype=np.int64)
        each = None if self.each is None else self.each[places]
        return Scores(self.values[places], self.unparsed[places], each)

    @classmethod
    def none(cls, samples: int) -> Scores:
        """Of no problem, `samples` responses each."""
        return cls(np.zeros((0, samples)), np.zeros((0, samples)))


def gather_scores(parts: Sequence[tuple[NDArray[np.int64], Scores]]) -> Scores:
    """Put scores, each with the places of their problems, into problem order; `notes` are those of the last part."""
    order = np.argsort(np.concatenate([places for places, _ in parts]))
    scores = [part for _, part in parts]
    each = [part.each for part in scores if part.each is not None]
    together = Scores(
        np.concatenate([part.values for part in scores]),
        np.concatenate([part.unparsed for part in scores]),
        np.concatenate(each) if len(each) == len(scores) else None,
        scores[-1].notes,
    )
    return replace(together.of(order), notes=together.notes)


def neutral(verdicts: Sequence[float | None]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Values of parsed verdicts, `NEUTRAL` for those that could not be, and which these are; (K,)."""
    unparsed = np.array([verdict is None for verdict in verdicts], dtype=bool)
    return np.array([NEUTRAL if verdict is None else verdict for verdict in verdicts], dtype=np.float64), unparsed


class Verifier(Protocol):
    """Scores responses; the same responses and `stream` get the same scores. `on_batch` hears of every step, and of the
    problems whose responses have been scored as far as that can be told."""

    def score(self, responses: Responses, stream: int, on_batch: OnBatch | None = None) -> Scores: ...


def scaled_progress(on_batch: OnBatch | None, each: float) -> OnBatch | None:
    """Tells `on_batch` of progress in other units, of which one is `each` of its own."""
    return None if on_batch is None else lambda done, tokens: on_batch(done * each, tokens)


def about_each(problems: int, samples: int) -> Questions:
    """One question about every response."""
    problem, first = np.divmod(np.arange(problems * samples), samples)
    return Questions(problem, first, np.full(problems * samples, NOBODY))
