"""How fast a run will be, by loading its model and doing a little of everything."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from sivgap.config.schema import SolverConfig, TrainConfig
from sivgap.core.example import Example
from sivgap.core.problem import Problem
from sivgap.core.rollout import Rollouts, Sampling
from sivgap.core.verification import Responses
from sivgap.engines.solver import load_solver
from sivgap.grading.equal import comparer
from sivgap.loop.components import Components, open_components
from sivgap.models.prompts import PromptWriter
from sivgap.plan.rates import Rates, batch_rows
from sivgap.plan.texts import Texts
from sivgap.plan.work import Lengths, measurements, panels
from sivgap.tasks.grade import grade_samples
from sivgap.tasks.load import Dataset
from sivgap.verifiers.context import make_verifier_context
from sivgap.verifiers.verifier import in_pass, make_verifier

PATIENCE = 5.0
"""Seconds after which no larger batch is tried."""
LARGER = 8
"""Times that the next one is larger."""


@dataclass(frozen=True)
class Attempt:
    """Responses to some problems, verified, with the training examples that they make."""

    rollouts: Rollouts
    examples: Sequence[Example]


@dataclass(frozen=True)
class Bench:
    """What is tried: `attempt` of some problems, and a step of training on examples, in seconds a token."""

    writer: PromptWriter
    attempt: Callable[[Sequence[Problem]], Attempt]
    train: Callable[[Sequence[Example]], float]


def on_the_spot(config: SolverConfig, dataset: Dataset, texts: Texts, loading: float) -> tuple[Rates, Lengths]:
    """With batches as large as the run's while that is quick. `loading` seconds have gone into imports and problems."""
    started = time.perf_counter()
    with _opened(by_itself(config), dataset) as bench:
        loading += time.perf_counter() - started
        done, problems, seconds = _largest(bench, dataset, batch_rows(config, dataset) // config.n)
        train = bench.train(done.examples) if done.examples else 0.0
    rollouts, sharing = done.rollouts, config.launch.processes
    responses, tokens = len(rollouts.tokens), int(rollouts.length.sum())
    what = f"{responses} responses drawn now"
    verdict = (rollouts.generated - tokens) / responses
    by_prompt = np.argsort([len(bench.writer.solve(problem).tokens) for problem in problems], kind="stable")
    each = tuple(map(int, rollouts.length[by_prompt].ravel()))  # an engine takes short prompts first
    lengths = Lengths(texts.prompt, tokens / responses, 0, verdict, len(done.examples) / len(problems), what, each)
    samples = (config.measure.samples if isinstance(config, TrainConfig) else None) or config.n
    graded = samples * measurements(config, dataset) * sum(size for _, size in panels(config, dataset))
    grading = max(0.0, seconds - rollouts.seconds_generate - rollouts.seconds_verify) / responses
    return Rates(
        rollouts.seconds_generate / tokens / sharing,
        rollouts.seconds_verify / responses / sharing,
        train / sharing,
        loading + graded * grading,
        f"measured now, on {responses} responses",
    ), lengths


def by_itself(config: SolverConfig) -> SolverConfig:
    """What one process can try: a whole engine; for other hardware, where lengths alone matter, one that is here."""
    alone = {"tensor_parallel": 1} | ({} if config.plan is True else {"name": "hf"})
    return config.model_copy(update={"engine": config.engine.model_copy(update=alone)})


@contextmanager
def _opened(config: SolverConfig, dataset: Dataset) -> Iterator[Bench]:
    if isinstance(config, TrainConfig):
        with open_components(config, dataset) as components:
            yield Bench(
                components.writer,
                lambda problems: _labelled(components, problems),
                lambda some: _train_seconds(components, some),
            )
    else:
        with _judging(config, dataset) as bench:
            yield bench


def _labelled(components: Components, problems: Sequence[Problem]) -> Attempt:
    rollouts, scores = components.sample_and_verify(problems, components.config.n, components.config.seed)
    components.panel(problems, rollouts, components.writer.decode(rollouts.bodies), scores)
    return Attempt(rollouts, components.choose(problems, rollouts, scores))


@contextmanager
def _judging(config: SolverConfig, dataset: Dataset) -> Iterator[Bench]:
    """An evaluation without its store: nothing is trained."""
    with comparer() as answers:
        solver = load_solver(config, dataset)
        bench = make_verifier_context(config, solver, dataset, answers)
        quick, verifier = in_pass(config.verifier, bench), make_verifier(config.verifier, bench)
        how = config.sampling
        sampling = Sampling(config.n, how.solver_temperature, how.max_new_tokens, config.seed, how.top_p)

        def attempt(problems: Sequence[Problem]) -> Attempt:
            prompts = [solver.writer.solve(problem) for problem in problems]
            rollouts = solver.engine.rollout(prompts, sampling, None if quick is None else quick.ask)
            texts, started = solver.writer.decode(rollouts.bodies), time.perf_counter()
            if quick is None:
                verifier.score(Responses(problems, texts, rollouts.bodies, rollouts.nll, rollouts.length), config.seed)
                rollouts = replace(rollouts, seconds_verify=time.perf_counter() - started)
            grade_samples(config.dataset.name, problems, texts, answers)
            return Attempt(rollouts, ())

        yield Bench(solver.writer, attempt, lambda _: 0.0)


def _largest(bench: Bench, dataset: Dataset, most: int) -> tuple[Attempt, Sequence[Problem], float]:
    """The largest attempt at up to `most` training problems that there was patience for, these, and its seconds."""
    count = 1
    while True:
        begun, problems = time.perf_counter(), dataset.train[:count]
        done = bench.attempt(problems)
        seconds = time.perf_counter() - begun
        if count >= min(most, len(dataset.train)) or seconds > PATIENCE:
            return done, problems, seconds
        count = min(most, count * LARGER)


def _train_seconds(components: Components, examples: Sequence[Example]) -> float:
    """Seconds a token of the second of two steps; the first one warms up."""
    size = components.config.update.batch_size
    batch = [examples[i % len(examples)] for i in range(size)]
    components.learner.step(batch, 0)
    begun = time.perf_counter()
    components.learner.step(batch, 1)
    spent = time.perf_counter() - begun
    return spent / sum(example.tokens for example in batch)
