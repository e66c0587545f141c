"""The solver: a model that is loaded, spoken to, and sampled; and the bench its verifiers are made on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sivgap.config.locate import read_prompt
from sivgap.config.members import asking
from sivgap.config.model import ModelSource
from sivgap.config.schema import SolverConfig, TrainConfig
from sivgap.config.verifier import VerifierConfig
from sivgap.engines.hf import HFEngine
from sivgap.engines.rollout import Engine
from sivgap.engines.stop import StopText
from sivgap.engines.vllm_start import require_vllm
from sivgap.errors import RunError
from sivgap.grading.equal import AnswerComparer
from sivgap.models.ends import embedding_rows
from sivgap.models.load import Loaded, context_length, load_model, pad_token
from sivgap.models.source import find_source
from sivgap.parallel.engine import Dealt
from sivgap.parallel.group import ALONE, Group
from sivgap.prompts import PromptWriter, fill, is_follow_up
from sivgap.tasks.grade import forms_of
from sivgap.tasks.load import Dataset
from sivgap.tasks.problem import Problem
from sivgap.verifiers.context import VerifierContext

_TEXT = 32
"""Tokens of a prompt on which an engine compares two ways of computing the same."""


@dataclass(frozen=True)
class Solver:
    """A model with its tokenizer, its way of writing prompts, and its engine."""

    loaded: Loaded
    writer: PromptWriter
    engine: Engine


def load_solver(config: SolverConfig, dataset: Dataset, group: Group = ALONE) -> Solver:
    """The solver of `config`, to work on `dataset`; the ranks of `group` share its work.

    Raises:
        ConfigError: If its engine is not installed.
        RunError: If the model cannot be loaded.
    """
    if config.engine.name == "hf":
        return load_source(config.model, config, dataset, group)
    require_vllm()
    source = find_source(config.model.path or config.model.name, config.model.revision)
    if not source.plain:
        raise RunError(
            f"model.path={config.model.path}: engine=vllm reads a folder of whole weights or a hub id; engine=hf reads "
            "adapters and GGUF files, and 'python -m sivgap.export run=RUN out=FOLDER merged=true' writes such a folder"
        )
    team = group.teams(config.engine.tensor_parallel)
    loaded = load_model(config.model)
    writer = _writer(loaded, config.model, config, dataset)
    engine = _vllm_engine(loaded, writer, config, dataset, group)
    return Solver(loaded, writer, engine if group.size == 1 else Dealt(engine, group, team))


def make_verifier_context(
    config: SolverConfig, solver: Solver, dataset: Dataset, comparer: AnswerComparer, group: Group = ALONE
) -> VerifierContext:
    """What the verifiers of `config` are made from: the solver itself, or the model that ``verifier.model`` names."""
    judge = solver
    if config.verifier.model.path is not None:
        judge = load_source(config.verifier.model, config, dataset, group)
    return VerifierContext(
        judge.engine,
        judge.writer,
        judge is solver,
        judge.loaded.end_tokens[0],
        context_length(judge.loaded.model),
        config.sampling.verifier_temperature,
        config.dataset.name,
        comparer,
        forms_of(config.dataset, dataset.examples),
        config.seed,
    )


def load_source(source: ModelSource, config: SolverConfig, dataset: Dataset, group: Group = ALONE) -> Solver:
    """Any model, asked the questions of `config`.

    Raises:
        RunError: If it cannot be loaded.
    """
    loaded = load_model(source)
    stop, writer = _stop(loaded, source), _writer(loaded, source, config, dataset)
    real_text = writer.solve([*dataset.train, *dataset.test][0]).tokens[-_TEXT:]
    engine = HFEngine(loaded.model, loaded.end_tokens, pad_token(loaded), config.engine.batch_size, stop, real_text)
    return Solver(loaded, writer, engine if group.size == 1 else Dealt(engine, group))


def _vllm_engine(loaded: Loaded, writer: PromptWriter, config: SolverConfig, dataset: Dataset, group: Group) -> Engine:
    from sivgap.engines.vllm import VLLMEngine
    from sivgap.engines.vllm_start import start_vllm

    rank = None
    if isinstance(config, TrainConfig) and config.engine.handover == "adapter":
        rank = config.update.lora_rank
    stop = _stop(loaded, config.model)
    texts = stop is not None
    llm = start_vllm(config.model, config.model.name, loaded.model.dtype, config.engine, rank, texts, group)
    prompt = writer.solve([*dataset.train, *dataset.test][0]).tokens
    return VLLMEngine(llm, loaded.model, loaded.end_tokens, config.engine.batch_size, prompt, rank is not None, stop)


def _writer(loaded: Loaded, source: ModelSource, config: SolverConfig, dataset: Dataset) -> PromptWriter:
    return PromptWriter(
        loaded.tokenizer,
        source.chat_template,
        read_prompt(config.dataset.prompt),
        dataset.examples,
        source.system_prompt,
        source.chat_template_kwargs,
    )


def _stop(loaded: Loaded, source: ModelSource) -> StopText | None:
    return StopText(loaded.tokenizer, source.stop) if source.stop else None


def check_context(config: SolverConfig, problems: Sequence[Problem], solver: Solver, bench: VerifierContext) -> None:
    """Every prompt must be writable, and fit the model's context with its response and its verdict.

    Raises:
        RunError: Naming the longest problem, or one with a token that the model does not know, if they do not.
    """
    prompts = [solver.writer.solve(problem).tokens for problem in problems]
    lengths = np.array([len(tokens) for tokens in prompts])
    rows = embedding_rows(solver.loaded.model)
    for problem, tokens in zip(problems, prompts, strict=True):
        if max(tokens) >= rows:
            raise RunError(
                f"problem {problem.id!r}: its prompt has token {max(tokens)}, and the model's embedding {rows}; leave "
                "special tokens out of questions and prompts"
            )
    longest = problems[int(lengths.argmax())]
    response = config.sampling.max_new_tokens
    needs = [(int(lengths.max()) + response, context_length(solver.loaded.model))]
    for verifier in asking(config.verifier, config.dataset.name):
        asked = _question_length(verifier, longest, bench.writer, int(lengths.max()), response)
        needs.append((asked + verifier.max_new_tokens, bench.context_length))
    for needed, context in needs:
        if context is not None and needed > context:
            raise RunError(
                f"problem {longest.id!r} needs {needed} tokens (prompt {lengths.max()}, response {response}, verdict "
                f"{needed - response - lengths.max()}), the model's context has {context}; lower "
                "sampling.max_new_tokens, or leave long problems out"
            )


def _question_length(
    verifier: VerifierConfig, problem: Problem, writer: PromptWriter, prompt: int, response: int
) -> int:
    """Tokens of a verifier's question about the longest possible response to `problem`."""
    template = read_prompt(verifier.prompt)
    if is_follow_up(template):
        return prompt + response + len(writer.follow_up(template))
    shown = 2 if verifier.name == "tournament" else 1
    empty = fill(template, {"response": "", "response_a": "", "response_b": ""})
    return len(writer.judgement(problem, empty + "{response}", [""])) + shown * response
