"""The parts that a run puts to work: problems, prompts, an engine, a verifier, a grader and the model in training."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from sivgap.config.schema import TrainConfig
from sivgap.core.example import Example
from sivgap.core.problem import Problem
from sivgap.core.rollout import Engine, OnBatch, Prompt, Rollouts, Sampling
from sivgap.core.verification import Responses, Scores, Verifier
from sivgap.cross.external import Response
from sivgap.engines.solver import load_solver
from sivgap.errors import RunError
from sivgap.gap.selection import Choice, Selection
from sivgap.grading.equal import AnswerComparer, comparer
from sivgap.loop.measurement import External, Panel
from sivgap.models.layout import beside_adapter, beside_weights
from sivgap.models.load import Loaded, check_targets, context_length
from sivgap.models.prompts import PromptWriter
from sivgap.parallel.group import ALONE, Group
from sivgap.parallel.packing import pack, unpack
from sivgap.tasks.grade import forms_of, grade_samples
from sivgap.tasks.load import Dataset
from sivgap.update.find import update_of
from sivgap.update.sft import Sft
from sivgap.verifiers.context import VerifierContext, check_context, make_verifier_context
from sivgap.verifiers.verifier import FusedVerifier, in_pass, make_verifier


@dataclass(frozen=True)
class Components:
    """Everything loaded. The engine samples with the weights handed to it last; `learner` holds those in training.

    Where the verifier's question can be answered in the pass that samples, `in_pass` does that. `verifier_context` is
    what the verifier was made from, to ask its questions one by one.
    """

    config: TrainConfig
    dataset: Dataset
    loaded: Loaded
    writer: PromptWriter
    verifier: Verifier
    in_pass: FusedVerifier | None
    engine: Engine
    learner: Sft
    comparer: AnswerComparer
    verifier_context: VerifierContext
    group: Group = ALONE
    beside_weights: Mapping[str, bytes] = field(default_factory=dict)
    """What other programs need to load the trained weights, by file names."""

    def hand_over(self) -> None:
        """Let the engine sample with the weights in training; of those that are sharded one at a time is whole."""
        if self.learner.sharded:
            for name, weight in self.learner.merged_weights():
                self.engine.load({name: weight})
            return
        write = self.learner.write_adapter if self.learner.has_adapter else None
        self.engine.load(dict(self.learner.merged_weights()), write)

    def sample(
        self, problems: Sequence[Problem], samples: int, stream: int, on_batch: OnBatch | None = None
    ) -> Rollouts:
        """`samples` responses to each problem, with the verifier's answers where it asks in the same pass."""
        settings = self.config.sampling
        sampling = Sampling(samples, settings.solver_temperature, settings.max_new_tokens, stream, settings.top_p)
        prompts = [self.writer.solve(problem) for problem in problems]
        return self.engine.rollout(prompts, sampling, None if self.in_pass is None else self.in_pass.ask, on_batch)

    def verify(
        self, problems: Sequence[Problem], rollouts: Rollouts, stream: int, on_batch: OnBatch | None = None
    ) -> tuple[Rollouts, Scores]:
        """The same responses with their verifier's time, and its scores; the weights that sampled judge them."""
        if self.in_pass is not None:
            return rollouts, self.in_pass.read(rollouts)
        started = time.perf_counter()
        bodies = rollouts.bodies
        responses = Responses(problems, self.writer.decode(bodies), bodies, rollouts.nll, rollouts.length)
        scores = self.verifier.score(responses, stream, on_batch)
        return replace(rollouts, seconds_verify=time.perf_counter() - started), self._of_first_rank(scores)

    def sample_and_verify(
        self, problems: Sequence[Problem], samples: int, stream: int, on_batch: OnBatch | None = None
    ) -> tuple[Rollouts, Scores]:
        """`samples` responses to each problem, each scored by the verifier."""
        return self.verify(problems, self.sample(problems, samples, stream, on_batch), stream, on_batch)

    def _of_first_rank(self, scores: Scores) -> Scores:
        """The same scores on every rank: a grader (``gold``) that nearly takes too long may end on one rank alone."""
        if self.group.size == 1:
            return scores
        first = unpack(self.group.gather(pack({"values": scores.values, "unparsed": scores.unparsed}))[0])
        return Scores(first["values"].astype(np.float64), first["unparsed"].astype(np.float64))

    def panel(
        self,
        problems: Sequence[Problem],
        rollouts: Rollouts,
        texts: list[str],
        scores: Scores,
        external: External | None = None,
    ) -> Panel:
        """A measurement of what was sampled (`texts` is that, decoded) and verified: choose and, for the record alone,
        grade. It touches no model, and may run beside one.
        """
        name = self.config.dataset.name
        forms = forms_of(self.config.dataset, self.dataset.examples)
        grades = grade_samples(name, problems, texts, self.comparer, forms)
        choice = self._choice(rollouts, scores)
        if external is not None:
            those = [problems[i] for i in external.prompt]
            external = replace(external, grades=grade_samples(name, those, external.texts, self.comparer, forms))
        return Panel(rollouts, texts, scores, grades, choice, external)

    def _choice(self, rollouts: Rollouts, scores: Scores) -> Choice:
        """SV Eq. 5, as configured."""
        by = scores.values, rollouts.nll, rollouts.length, rollouts.finished
        return Selection.of(self.config.selection).choose(*by, scores.unparsed)

    def external(
        self,
        problems: Sequence[Problem],
        given: Mapping[str, Response],
        arriving: Mapping[str, Response],
        on_batch: OnBatch | None = None,
    ) -> External | None:
        """External responses to some of `problems`, not graded yet: those `given` so far, and those `arriving` right
        after this measurement.
        """
        responses = {**arriving, **given}
        places = [i for i, problem in enumerate(problems) if problem.id in responses]
        if not places:
            return None
        those = [problems[i] for i in places]
        tokens = [self.external_tokens(problem, responses[problem.id]) for problem in those]
        return External(
            np.array(places),
            np.array([problem.id not in given for problem in those]),
            tokens,
            [responses[problem.id].text for problem in those],
            np.array([responses[problem.id].finished for problem in those]),
            self.engine.likelihood([self.writer.solve(problem) for problem in those], tokens, on_batch),
        )

    def external_tokens(self, problem: Problem, response: Response) -> tuple[int, ...]:
        """An external response as the model would have written it, its end included.

        Raises:
            RunError: If the tokenizer cannot write it, or it does not fit the model's context.
        """
        end = (self.loaded.end_tokens[0],) if response.finished else ()
        tokens = (*self.writer.response(response.text, problem.id), *end)
        context = context_length(self.loaded.model)
        needed = len(self.writer.solve(problem).tokens) + len(tokens)
        if context is not None and needed > context:
            raise RunError(
                f"problem {problem.id!r}: with its external response it has {needed} tokens, the model's context "
                f"{context}; shorten the response, or lower cross.budget"
            )
        return tokens

    def choose(
        self, problems: Sequence[Problem], rollouts: Rollouts, scores: Scores, on_batch: OnBatch | None = None
    ) -> list[Example]:
        """The chosen responses of each problem as training examples: one (SV Eq. 5), or all that pass (MG).

        A problem none of whose responses passes gives its likeliest response, or nothing with fallback ``drop``. With
        ``update=rpo`` each is paired with a response that does not pass, as long as there are any; one whose verdict
        could not be read is neither chosen nor held against.
        """
        selection = self.config.selection
        choice = self._choice(rollouts, scores)
        fails = ~Selection.of(selection).passes(scores.values, scores.unparsed) & (scores.unparsed < 1)
        bodies, ending, samples = rollouts.bodies, rollouts.ending.ravel(), rollouts.nll.shape[1]

        def learnt(row: int) -> tuple[int, ...]:
            tokens = tuple(map(int, rollouts.tokens[row]))
            if ending[row] == 1 and tokens[-1] in self.loaded.end_tokens:
                return tokens  # with the end that was drawn: the tokenizer's end of sequence may be another
            return (*map(int, bodies[row]), *((self.loaded.end_tokens[0],) if ending[row] else ()))

        examples = []
        for i, problem in enumerate(problems):
            if not choice.passed[i] and selection.fallback == "drop":
                continue
            several = selection.keep == "all" and choice.passed[i]
            chosen = np.flatnonzero(choice.passes[i]) if several else [choice.chosen[i]]
            prompt = self.writer.solve(problem).tokens
            paired = self.learner.paired and choice.passed[i]
            rejected = _rejected(scores.values[i], fails[i]) if paired else []
            for k, n in enumerate(chosen):
                against = learnt(i * samples + rejected[k]) if k < len(rejected) else ()
                examples.append(Example(prompt, learnt(i * samples + int(n)), problem.id, against))
        return self._with_margins(examples, on_batch) if self.learner.paired else examples

    def _with_margins(self, examples: Sequence[Example], on_batch: OnBatch | None) -> list[Example]:
        """Pairs with the reference policy's margin: by how much it finds the chosen response likelier."""
        pairs = [example for example in examples if example.rejected]
        prompts = [Prompt(example.prompt, 0) for example in pairs]
        rejected = self.engine.likelihood(prompts, [example.rejected for example in pairs], on_batch)
        margins = rejected - self.engine.likelihood(prompts, [example.response for example in pairs], on_batch)
        found = iter(margins)
        return [replace(example, margin=float(next(found))) if example.rejected else example for example in examples]


def _rejected(scores: NDArray[np.float64], fails: NDArray[np.bool_]) -> list[int]:
    """Responses of one problem that were judged and do not pass, the lowest-scored first."""
    order = np.argsort(scores, kind="stable")
    return [int(n) for n in order if fails[n]]


@contextmanager
def open_components(config: TrainConfig, dataset: Dataset, group: Group = ALONE) -> Iterator[Components]:
    """Load everything that `config` names, to work on `dataset`; grading workers end with the block.

    Raises:
        RunError: If the model cannot be loaded, or dataset and model do not fit each other.
    """
    solver = load_solver(config, dataset, group)
    loaded = solver.loaded
    check_targets(config.model, loaded.model)
    learner = update_of(config.update)(
        loaded.model, config.model, config.update, config.seed, group, config.launch.shard
    )
    adapter = learner.adapter_config
    beside = (
        beside_weights(loaded.model, loaded.tokenizer, torch.float32) if adapter is None else beside_adapter(adapter)
    )
    with comparer() as answers:
        verifier_context = make_verifier_context(config, solver, dataset, answers, group)
        check_context(config, [*dataset.train, *dataset.test], solver, verifier_context)
        verifier, quick = make_verifier(config.verifier, verifier_context), in_pass(config.verifier, verifier_context)
        parts = (loaded, solver.writer, verifier, quick, solver.engine, learner, answers, verifier_context, group)
        yield Components(config, dataset, *parts, beside)
