"""Lengths of prompts and of verifiers' questions: by the model's tokenizer, or by counting characters."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sivgap.config.evaluation import EvaluateConfig
from sivgap.config.locate import read_prompt
from sivgap.config.members import asking
from sivgap.config.schema import SolverConfig, TrainConfig
from sivgap.errors import RunError
from sivgap.models.prompts import PromptWriter, fill, is_follow_up
from sivgap.models.source import find_source
from sivgap.plan.work import Lengths, VerifierWork, verifier_work
from sivgap.runtime.read import read_parquet, read_yaml
from sivgap.tasks.load import Dataset

CHARACTERS = 4
"""A token, in ordinary English, where there is no tokenizer to ask."""
CHAT = 30
"""Tokens of a chat template around one turn, likewise."""
WRITTEN = 0.5
"""Share of the longest response, or justification, that is written on average, where nothing was seen."""
SHORT = 4
"""Tokens of a verdict without a justification, likewise."""
_ENOUGH = 512
"""Prompts whose mean stands for all."""
_MANY = 2**13
"""Responses, likewise."""


@dataclass(frozen=True)
class Texts:
    """Tokens.

    Attributes:
        prompt, longest: Of the solver's prompts.
        questions: What each verifier's prompt adds to what it is shown; an ensemble has several. Below 0 where one
            that stands alone takes fewer tokens than the solver's few-shot examples.
        shared: What stands in each verifier's prompt before the response, of those that show one.
        counted: By the tokenizer.
    """

    prompt: float
    longest: int
    questions: dict[str, float]
    counted: bool
    shared: dict[str, float] = field(default_factory=dict)


def texts(config: SolverConfig, dataset: Dataset) -> Texts:
    asked_in: dict[str, str] = {v.name: read_prompt(v.prompt) for v in asking(config.verifier, config.dataset.name)}
    problems = dataset.train[:_ENOUGH]
    template = read_prompt(config.dataset.prompt)
    writer = _writer(config, dataset, template)
    if writer is None:
        shots = sum(len(template) + len(p.question) + len(p.solution or "") for p in dataset.examples)
        around = CHAT if config.model.chat_template else 0
        lengths = [around + (shots + len(template) + len(p.question)) / CHARACTERS for p in problems]
        added = {name: around + len(question) / CHARACTERS for name, question in asked_in.items()}
        return Texts(float(np.mean(lengths)), round(max(lengths)), added, counted=False)
    tokens = [len(writer.solve(problem).tokens) for problem in problems]
    questions: dict[str, float] = {}
    shared: dict[str, float] = {}
    for name, question in asked_in.items():
        empty = fill(question, {"response": "", "response_a": "", "response_b": ""})
        alone = 0 if is_follow_up(question) else len(writer.judgement(problems[0], empty + "{response}", [""]))
        questions[name] = alone - tokens[0] if alone else len(writer.follow_up(question))
        if alone:
            before = writer.judgement(problems[0], question.partition("{response")[0] + "{response}", [""])
            shared[name] = min(alone, len(before))
    return Texts(float(np.mean(tokens)), max(tokens), questions, counted=True, shared=shared)


def assumed(config: SolverConfig, found: Texts) -> Lengths:
    """Lengths of what is written, where nothing has been written yet: all up to the longest are alike likely."""
    longest = config.sampling.max_new_tokens
    each = np.random.default_rng(0).integers(1, longest, _MANY, endpoint=True)
    source = "assumed: half of sampling.max_new_tokens"
    response = max(1.0, WRITTEN * longest)
    return Lengths(found.prompt, response, 0, 0, _examples(config), source, tuple(map(int, each)))


def _examples(config: SolverConfig) -> float:
    """Training examples of a prompt."""
    if not isinstance(config, TrainConfig) or config.selection.keep != "all":
        return 1.0
    return float(math.ceil((config.selection.quantile or 1.0) * config.n))


def seen(config: SolverConfig, found: Texts) -> Lengths | None:
    """Lengths of the responses of the newest evaluation in ``runs_dir`` of the same model, problems and sampling."""
    parts = {"model", "dataset", "sampling"}
    for path in sorted(Path(config.runs_dir).glob("evaluate-*/scores.parquet"), key=_age):
        try:
            earlier = EvaluateConfig.model_validate(read_yaml(path.parent / "config.yaml", path.parent))
            each = read_parquet(path, path.parent)["length"].to_numpy()[:_MANY]
        except (OSError, ValueError, KeyError, RunError):
            continue  # damaged, or of another version; there may be another
        if len(each) and earlier.model_dump(include=parts) == config.model_dump(include=parts):
            source = f"evaluation {path.parent.name}"
            return Lengths(found.prompt, float(each.mean()), 0, 0, _examples(config), source, tuple(map(int, each)))
    return None


def _age(path: Path) -> float:
    return -path.stat().st_mtime


def about_responses(config: SolverConfig, found: Texts, lengths: Lengths) -> VerifierWork:
    """What all verifiers do about a response."""
    read = written = 0.0
    for verifier in asking(config.verifier, config.dataset.name):
        sampled = verifier.readout == "sampled" or verifier.heading is not None
        likely = WRITTEN * verifier.max_new_tokens if verifier.heading else min(SHORT, verifier.max_new_tokens)
        verdict = (lengths.verdict or likely) if sampled else 0
        its = replace(
            lengths,
            question=found.questions.get(verifier.name, 0),
            verdict=verdict,
            shared=found.shared.get(verifier.name, 0),
        )
        follows = is_follow_up(read_prompt(verifier.prompt)) and not config.verifier.members
        does = verifier_work(verifier, its, config.n, follows)
        read, written = read + does.read, written + does.written
    return VerifierWork(read, written)


def _writer(config: SolverConfig, dataset: Dataset, template: str) -> PromptWriter | None:
    from transformers import AutoTokenizer

    model = config.model
    try:
        source = find_source(model.path or model.name, model.revision, online=False)
        tokenizer = AutoTokenizer.from_pretrained(
            source.path, trust_remote_code=False, local_files_only=True, **source.options
        )
    except (OSError, ValueError, ImportError, RunError):
        return None
    return PromptWriter(
        tokenizer, model.chat_template, template, dataset.examples, model.system_prompt, model.chat_template_kwargs
    )
