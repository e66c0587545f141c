"""The solver: a model that is loaded, spoken to, and sampled."""

from __future__ import annotations

from dataclasses import dataclass

from sivgap.config.locate import read_prompt
from sivgap.config.model import ModelSource
from sivgap.config.schema import SolverConfig, TrainConfig
from sivgap.core.rollout import Engine
from sivgap.engines.hf import HFEngine
from sivgap.engines.stop import StopText
from sivgap.engines.vllm_start import require_vllm
from sivgap.errors import RunError
from sivgap.models.load import Loaded, load_model, pad_token
from sivgap.models.prompts import PromptWriter
from sivgap.models.source import find_source
from sivgap.parallel.engine import DataParallelEngine
from sivgap.parallel.group import ALONE, Group
from sivgap.tasks.load import Dataset

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
    return Solver(loaded, writer, engine if group.size == 1 else DataParallelEngine(engine, group, team))


def load_source(source: ModelSource, config: SolverConfig, dataset: Dataset, group: Group = ALONE) -> Solver:
    """Any model, asked the questions of `config`.

    Raises:
        RunError: If it cannot be loaded.
    """
    loaded = load_model(source)
    stop, writer = _stop(loaded, source), _writer(loaded, source, config, dataset)
    real_text = writer.solve([*dataset.train, *dataset.test][0]).tokens[-_TEXT:]
    engine = HFEngine(loaded.model, loaded.end_tokens, pad_token(loaded), config.engine.batch_size, stop, real_text)
    return Solver(loaded, writer, engine if group.size == 1 else DataParallelEngine(engine, group))


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
