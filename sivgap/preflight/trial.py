"""As many responses as the minutes allow, with the run's own settings; and one step of training, for its speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sivgap.config.preflight import PreflightConfig
from sivgap.config.schema import TrainConfig
from sivgap.core.example import Example
from sivgap.core.problem import Problem
from sivgap.core.rollout import OnBatch, Rollouts, Sampling, gather
from sivgap.core.verification import Scores, gather_scores
from sivgap.loop.components import Components
from sivgap.loop.measurement import Panel
from sivgap.preflight.conversation import Conversation, conversation, worth_reading
from sivgap.runtime.display import Display
from sivgap.tasks.panel import draw_panel

SAMPLES = 4
"""Responses a problem, or ``n`` if that is fewer: enough to see that they differ."""
FEWER_SAMPLES = 2
"""Responses a problem where there is no time for `SAMPLES`: more problems tell more than more responses to few."""
FEWEST = 2
"""Problems that are tried however slow the machine is."""
PROBED = 16
"""Tokens of each response of a probe: enough steps for their speed to show."""
WRITTEN = 0.75
"""Share of the longest response that is budgeted for, before any was seen: half is usual, and batches end unevenly."""
TRAINED = 4
"""Examples in a step, where there is time: the memory of more is the plan's to predict."""
LATER = 0.25
"""Share of the minutes that is left for what follows sampling: a step of training, and conversations."""

Checked = Callable[[OnBatch], OnBatch]
Seconds = Callable[[int], float]
"""How long so many responses take."""


@dataclass(frozen=True)
class Trial:
    """What was tried.

    Attributes:
        problems: P, fewer than `wanted` on a slow machine.
        panel: Their responses, scored and graded.
        conversations: Two of them, as sent and answered.
        grading: Seconds of grading, a response.
        train: Seconds a token of training; None where there was no time, or nothing to learn.
        examples: Training examples a problem.
        loading: Seconds until the model was there.
    """

    problems: Sequence[Problem]
    wanted: int
    panel: Panel
    conversations: Sequence[Conversation]
    grading: float
    train: float | None
    examples: float
    loading: float


def tried(config: PreflightConfig) -> TrainConfig:
    """The run's settings for a trial: fewer responses, and one process."""
    samples = min(config.n, SAMPLES)
    rounds = config.verifier.rounds
    fewer = None if rounds is None else min(rounds, max(1, samples.bit_length() - 1))
    return config.model_copy(
        update={
            "n": samples,
            "verifier": config.verifier.model_copy(update={"rounds": fewer}),
            "engine": config.engine.model_copy(update={"tensor_parallel": 1}),
            "launch": config.launch.model_copy(update={"processes": 1, "shard": False}),
        }
    )


def run_trial(
    components: Components, config: PreflightConfig, display: Display, checked: Checked, started: float, loading: float
) -> Trial:
    """Sample, verify, grade, then train on one example; `started` is when the command began, on `perf_counter`."""
    until = started + 60 * config.minutes
    problems = draw_panel(components.dataset.train, config.problems, config.dataset.data_seed, "train")
    done, rollouts, scores = _sampled(components, problems, display, checked, until - LATER * 60 * config.minutes)
    begun = time.perf_counter()
    panel = components.panel(done, rollouts, components.writer.decode(rollouts.bodies), scores)
    grading = (time.perf_counter() - begun) / len(rollouts.tokens)
    shown = [conversation(components, done, panel, *place) for place in worth_reading(panel)]
    examples = components.choose(done, rollouts, scores)
    with display.phase("trying a step of training", 1, "steps") as advance:
        train = _train_seconds(components, examples, until)
        advance(1, 0)
    return Trial(done, len(problems), panel, shown, grading, train, len(examples) / len(done), loading)


def _sampled(
    components: Components, problems: Sequence[Problem], display: Display, checked: Checked, until: float
) -> tuple[list[Problem], Rollouts, Scores]:
    """Portions of `problems`, each as large as there is time for by the speed seen so far, until `until`."""
    parts: list[tuple[NDArray[np.int64], Rollouts]] = []
    scored: list[tuple[NDArray[np.int64], Scores]] = []
    done = 0
    with display.phase("finding the speed", 1, "probes") as advance:
        seconds = _probe(components, problems)
        advance(1, 0)
    samples = affordable_samples(seconds, until - time.perf_counter(), len(problems), components.config.n)
    while done < len(problems):
        count = affordable(seconds, until - time.perf_counter(), len(problems) - done, samples)
        if count < FEWEST and done:
            break
        portion = problems[done : done + max(count, FEWEST)]
        begun = time.perf_counter()
        with display.phase("trying responses", len(portion)) as advance:
            rollouts, verdicts = components.sample_and_verify(
                portion, samples, components.config.seed, checked(advance)
            )
        seconds = _proportional((time.perf_counter() - begun) / (len(portion) * samples))
        places = np.arange(done, done + len(portion))
        parts.append((places, rollouts))
        scored.append((places, verdicts))
        done += len(portion)
    return list(problems[:done]), gather(parts), gather_scores(scored)


def affordable_samples(seconds: Seconds, left: float, problems: int, most: int) -> int:
    """Responses a problem: `most`, or `FEWER_SAMPLES` where so many to all `problems` take more than `left` seconds."""
    return most if seconds(problems * most) <= left else min(most, FEWER_SAMPLES)


def affordable(seconds: Seconds, left: float, most: int, samples: int) -> int:
    """Problems, up to `most`, whose `samples` responses each are done in `left` seconds."""
    return next((count for count in range(most, 0, -1) if seconds(count * samples) <= left), 0)


def _proportional(a_response: float) -> Seconds:
    return lambda count: a_response * count


def _probe(components: Components, problems: Sequence[Problem]) -> Seconds:
    """By the first tokens of few responses at once, and of more."""
    settings, verifier, samples = components.config.sampling, components.config.verifier, components.config.n
    longest = WRITTEN * settings.max_new_tokens + (verifier.max_new_tokens if verifier.heading is not None else 0)
    tokens = min(PROBED, settings.max_new_tokens)

    def seconds(count: int, tokens: int) -> float:
        begun = time.perf_counter()
        sampling = Sampling(samples, settings.solver_temperature, tokens, components.config.seed, settings.top_p)
        components.engine.rollout([components.writer.solve(problem) for problem in problems[:count]], sampling)
        return time.perf_counter() - begun

    seconds(1, 1)  # what is made ready at the first use is not to be counted
    few, more = min(FEWEST, len(problems)), min(4 * FEWEST, len(problems))
    of_few = seconds(few, tokens) * longest / tokens
    if few == more:
        return _proportional(of_few / (few * samples))
    each = max((seconds(more, tokens) * longest / tokens - of_few) / ((more - few) * samples), 0.0)
    return lambda count: max(of_few + each * (count - few * samples), 0.0)


def _train_seconds(components: Components, examples: Sequence[Example], until: float) -> float | None:
    """Seconds a token of a step on one example of middling length, or on more of them where there is time for a second
    step. Adapters, or weights, change by that: nothing is sampled afterwards."""
    if not examples or time.perf_counter() > until:
        return None
    components.engine.rest()
    middling = sorted(examples, key=lambda one: one.tokens)[len(examples) // 2]
    a_token = 0.0
    for step, count in enumerate((1, TRAINED)):
        if time.perf_counter() + a_token * middling.tokens * count > until:
            break
        begun = time.perf_counter()
        components.learner.step([middling] * count, step)
        a_token = (time.perf_counter() - begun) / (middling.tokens * count)
    return a_token
