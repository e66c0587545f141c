"""Whole conversations, as a model and its judge are sent them and answer, with every special token to be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sivgap.config.members import asking
from sivgap.config.verifier import VerifierConfig
from sivgap.core.problem import Problem
from sivgap.core.verification import NOBODY, Questions, Responses
from sivgap.loop.components import Components
from sivgap.loop.measurement import Panel
from sivgap.models.prompts import is_follow_up
from sivgap.verifiers.verifier import make_judge


@dataclass(frozen=True)
class Verdict:
    """What a judge was asked and said.

    Attributes:
        verifier: Its name.
        question: What it is sent; of a question that goes on the conversation what comes after the response.
        said: What it wrote; None where the likelihoods of its answers were read.
        value: The verdict; None where it could not be read.
    """

    verifier: str
    question: str
    said: str | None
    value: float | None


@dataclass(frozen=True)
class Conversation:
    """One response. `answer` is what was read of it, None if nothing."""

    problem: str
    prompt: str
    response: str
    finished: bool
    reference: str
    answer: str | None
    correct: bool
    correct_strict: bool
    score: float
    verdicts: list[Verdict]


def worth_reading(panel: Panel) -> list[tuple[int, int]]:
    """Two responses of different problems, where there are two: a right one and a wrong one if there are both."""
    right, wrong = (np.argwhere(panel.correct == value) for value in (1, 0))
    others = np.argwhere(np.ones(panel.correct.shape))
    first = tuple(map(int, (right if len(right) else wrong)[0]))
    for among in (wrong, right, others):
        elsewhere = among[among[:, 0] != first[0]]
        if len(elsewhere):
            return [(first[0], first[1]), (int(elsewhere[0, 0]), int(elsewhere[0, 1]))]
    return [(first[0], first[1])]


def conversation(components: Components, problems: Sequence[Problem], panel: Panel, p: int, n: int) -> Conversation:
    """Response `n` to problem `p` of a panel, and its verdict; a judge that was asked apart is asked once more."""
    samples = panel.rollouts.nll.shape[1]
    row, problem, grade = p * samples + n, problems[p], panel.grades[p * samples + n]
    own = slice(p * samples, (p + 1) * samples)
    responses = Responses(
        [problem], panel.texts[own], panel.rollouts.bodies[own] if components.verifier_context.own else None
    )
    asked = asking(components.config.verifier, components.config.dataset.name)
    return Conversation(
        problem.id,
        components.writer.as_sent(components.writer.solve(problem).tokens),
        components.writer.as_sent(panel.rollouts.tokens[row]),
        bool(panel.rollouts.finished[p, n]),
        str(problem.reference),
        grade.answer,
        bool(grade.correct),
        bool(grade.correct_strict),
        float(panel.scores.values[p, n]),
        [_in_pass(components, panel, p, n)]
        if components.in_pass
        else [_verdict(components, each, responses, n) for each in asked],
    )


def _in_pass(components: Components, panel: Panel, p: int, n: int) -> Verdict:
    """The verdict that was given in the pass that sampled."""
    assert components.in_pass is not None
    verdicts = panel.rollouts.verdicts
    return Verdict(
        components.config.verifier.name,
        components.writer.as_sent(components.in_pass.ask.tokens),
        None if verdicts is None else components.writer.decode([verdicts[p * panel.scores.values.shape[1] + n]])[0],
        None if panel.scores.unparsed[p, n] else float(panel.scores.values[p, n]),
    )


def _verdict(components: Components, verifier: VerifierConfig, responses: Responses, n: int) -> Verdict:
    """Of response `n` to the only problem; a tournament compares it with the next one."""
    judge, writer = make_judge(verifier, components.verifier_context), components.verifier_context.writer
    other = (n + 1) % len(responses.texts) if verifier.name == "tournament" else NOBODY
    answers = judge.ask(responses, Questions(*(np.array([i]) for i in (0, n, other))), components.config.seed)
    shown = [responses.texts[i] for i in (n, other) if i != NOBODY]
    follows = is_follow_up(judge.template)
    question = (
        writer.follow_up(judge.template) if follows else writer.judgement(responses.problems[0], judge.template, shown)
    )
    read = verifier.readout == "expected" and verifier.heading is None
    return Verdict(
        verifier.name,
        writer.as_sent(question),
        None if read else answers.said[0],
        None if answers.unparsed[0, 0] else float(answers.value[0, 0]),
    )
