"""What verifiers are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sivgap.config.locate import read_prompt
from sivgap.config.members import asking
from sivgap.config.schema import SolverConfig
from sivgap.config.verifier import VerifierConfig
from sivgap.core.problem import Problem
from sivgap.core.rollout import Engine
from sivgap.engines.solver import Solver, load_source
from sivgap.errors import RunError
from sivgap.grading.equal import AnswerComparer
from sivgap.grading.forms import Form
from sivgap.models.ends import embedding_rows
from sivgap.models.load import context_length
from sivgap.models.prompts import PromptWriter, fill, is_follow_up
from sivgap.parallel.group import ALONE, Group
from sivgap.tasks.grade import forms_of
from sivgap.tasks.load import Dataset


@dataclass(frozen=True)
class VerifierContext:
    """What verifiers are made from: the judging model, and ground truth for ``gold``.

    Attributes:
        own: Whether the solver itself judges.
        temperature, top_p: Of sampled verdicts.
        end_token: What ends the judge's answers.
        context_length: Tokens that the judge can read at once, where it says.
        forms: In which the solver's prompt asks for its answer.
        seed: Of the run.
    """

    engine: Engine
    writer: PromptWriter
    own: bool
    end_token: int
    context_length: int | None
    temperature: float
    top_p: float
    dataset: str
    comparer: AnswerComparer
    forms: Sequence[Form] = ()
    seed: int = 0


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
        config.sampling.verifier_top_p,
        config.dataset.name,
        comparer,
        forms_of(config.dataset, dataset.examples),
        config.seed,
    )


def check_context(
    config: SolverConfig, problems: Sequence[Problem], solver: Solver, verifier_context: VerifierContext
) -> None:
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
        asked = _question_length(verifier, longest, verifier_context.writer, int(lengths.max()), response)
        needs.append((asked + verifier.max_new_tokens, verifier_context.context_length))
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
