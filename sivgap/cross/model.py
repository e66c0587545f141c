"""Source ``model``: a second, stronger local model answers, once, through the same engine."""

from __future__ import annotations

from collections.abc import Sequence

from sivgap.config.locate import read_prompt
from sivgap.config.schema import ModelConfig, TrainConfig
from sivgap.cross.external import Response
from sivgap.engines.hf import HFEngine
from sivgap.engines.noise import key_of
from sivgap.engines.rollout import Sampling
from sivgap.engines.stop import StopText
from sivgap.models.load import load_model, pad_token
from sivgap.progress import Display
from sivgap.prompts import PromptWriter
from sivgap.tasks.load import Dataset
from sivgap.tasks.problem import Problem


def responses(
    config: TrainConfig, dataset: Dataset, problems: Sequence[Problem], display: Display
) -> dict[str, Response]:
    """One response each at ``cross.temperature``; the model is gone when this returns.

    Raises:
        RunError: If the model cannot be loaded.
    """
    settings = config.cross.model
    loaded = load_model(
        ModelConfig(
            **settings.model_dump(), name="external", lora_targets=["all-linear"], parameters=1, licence="its own"
        )
    )
    writer = PromptWriter(
        loaded.tokenizer, settings.chat_template, read_prompt(config.dataset.prompt), dataset.examples
    )
    stop = StopText(loaded.tokenizer, settings.stop) if settings.stop else None
    engine = HFEngine(loaded.model, loaded.end_tokens, pad_token(loaded), config.engine.batch_size, stop)
    sampling = Sampling(
        1, config.cross.temperature, config.sampling.max_new_tokens, key_of(config.seed, "external response")
    )
    with display.phase("external responses", len(problems)) as advance:
        rollouts = engine.rollout([writer.solve(problem) for problem in problems], sampling, None, advance)
    texts, finished = writer.decode(rollouts.bodies), rollouts.finished.ravel()
    return {
        problem.id: Response(text.strip(), bool(ended))
        for problem, text, ended in zip(problems, texts, finished, strict=True)
    }
