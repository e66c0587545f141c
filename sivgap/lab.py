"""The parts that a run puts to work: problems, prompts, an engine, a verifier, a grader and the model in training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from sivgap.config.locate import read_prompt
from sivgap.config.schema import TrainConfig
from sivgap.engines.hf import HFEngine
from sivgap.engines.rollout import OnBatch, Rollouts, Sampling
from sivgap.engines.stop import StopText
from sivgap.errors import RunError
from sivgap.grading.equal import AnswerComparer, comparer
from sivgap.grading.grade import grade
from sivgap.hardware import prepare_processor
from sivgap.measure import Panel
from sivgap.models.load import Loaded, load_model, pad_token
from sivgap.prompts import PromptWriter
from sivgap.selection import best_of_n
from sivgap.tasks.load import Dataset, load_dataset
from sivgap.tasks.problem import Problem
from sivgap.update.example import Example
from sivgap.update.sft import Sft
from sivgap.verifiers.verifier import Scores, Verifier, make_verifier


@dataclass(frozen=True)
class Lab:
    """Everything loaded. The engine samples with the weights handed to it last; `learner` holds those in training."""

    config: TrainConfig
    dataset: Dataset
    loaded: Loaded
    writer: PromptWriter
    verifier: Verifier
    engine: HFEngine
    learner: Sft
    comparer: AnswerComparer

    def sample_and_verify(
        self, problems: Sequence[Problem], samples: int, stream: int, on_batch: OnBatch | None = None
    ) -> tuple[Rollouts, Scores]:
        """`samples` responses to each problem, each scored by the verifier; the same weights do both."""
        sampling = Sampling(
            samples, self.config.sampling.solver_temperature, self.config.sampling.max_new_tokens, stream
        )
        prompts = [self.writer.solve(problem) for problem in problems]
        rollouts = self.engine.rollout(prompts, sampling, self.verifier.ask, on_batch)
        return rollouts, self.verifier.score(rollouts)

    def measure(self, problems: Sequence[Problem], samples: int, stream: int, on_batch: OnBatch | None) -> Panel:
        """Sample, verify, choose and, for the record alone, grade."""
        rollouts, scores = self.sample_and_verify(problems, samples, stream, on_batch)
        texts = self.writer.decode(rollouts.bodies)
        references = [problem.reference for problem in problems for _ in range(samples)]
        grades = grade(self.config.dataset.name, texts, references, self.comparer)
        choice = best_of_n(scores.values, rollouts.nll, rollouts.length, self.config.selection.threshold)
        return Panel(rollouts, texts, scores, grades, choice)

    def choose(self, problems: Sequence[Problem], rollouts: Rollouts, scores: Scores) -> list[Example]:
        """The chosen response of each problem as a training example (SV Eq. 5).

        A problem none of whose responses passes tau gives its likeliest response, or nothing with fallback ``drop``.
        """
        selection = self.config.selection
        choice = best_of_n(scores.values, rollouts.nll, rollouts.length, selection.threshold)
        bodies = rollouts.bodies
        examples = []
        for i, problem in enumerate(problems):
            if choice.passed[i] or selection.fallback == "likeliest":
                row = i * rollouts.nll.shape[1] + int(choice.chosen[i])
                end = (self.loaded.end_tokens[0],) if rollouts.finished.flat[row] else ()
                response = (*map(int, bodies[row]), *end)
                examples.append(Example(self.writer.solve(problem).tokens, response, problem.id))
        return examples


@contextmanager
def open_lab(config: TrainConfig) -> Iterator[Lab]:
    """Load everything that `config` names; grading workers end with the block.

    Raises:
        RunError: If the dataset or the model cannot be loaded, or do not fit each other.
    """
    prepare_processor(config.engine.threads)
    dataset = load_dataset(config.dataset)
    loaded = load_model(config.model)
    writer = PromptWriter(
        loaded.tokenizer, config.model.chat_template, read_prompt(config.dataset.prompt), dataset.examples
    )
    verifier = make_verifier(config.verifier, writer, config.sampling.verifier_temperature)
    _check_context(config, dataset, loaded, writer, verifier)
    pad = pad_token(loaded)
    learner = Sft(loaded.model, config.model, config.update, config.seed, pad)
    stop = StopText(loaded.tokenizer, config.model.stop) if config.model.stop else None
    engine = HFEngine(loaded.model, loaded.end_tokens, pad, config.engine.batch_size, stop)
    with comparer() as answers:
        yield Lab(config, dataset, loaded, writer, verifier, engine, learner, answers)


def _check_context(
    config: TrainConfig, dataset: Dataset, loaded: Loaded, writer: PromptWriter, verifier: Verifier
) -> None:
    """Every prompt must be writable, and fit the model's context with its response and verdict."""
    problems = [*dataset.train, *dataset.test]
    lengths = np.array([len(writer.solve(problem).tokens) for problem in problems])
    verdict = len(verifier.ask.tokens) + verifier.ask.max_new_tokens
    needed = int(lengths.max()) + config.sampling.max_new_tokens + verdict
    model = loaded.model.config
    limits = [getattr(model, "max_position_embeddings", None)]
    if getattr(model, "use_sliding_window", True):
        limits.append(getattr(model, "sliding_window", None))
    context = min((limit for limit in limits if limit), default=needed)
    if needed > context:
        raise RunError(
            f"problem {problems[int(lengths.argmax())].id!r} needs {needed} tokens (prompt {lengths.max()}, response "
            f"{config.sampling.max_new_tokens}, verdict {verdict}), the model's context has {context}; lower "
            "sampling.max_new_tokens, or leave long problems out"
        )
