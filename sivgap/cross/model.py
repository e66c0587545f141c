"""Source ``model``: a second, stronger local model answers, once, through the same engine."""

from __future__ import annotations

from collections.abc import Sequence

from sivgap.config.schema import TrainConfig
from sivgap.core.problem import Problem
from sivgap.core.rollout import Sampling
from sivgap.cross.external import Response
from sivgap.engines.solver import load_source
from sivgap.runtime.display import Display
from sivgap.runtime.rng import derive_key
from sivgap.tasks.load import Dataset


def responses(
    config: TrainConfig, dataset: Dataset, problems: Sequence[Problem], display: Display
) -> dict[str, Response]:
    """One response each at ``cross.temperature``; the model is gone when this returns.

    Raises:
        RunError: If the model cannot be loaded.
    """
    settings = config.cross.model
    model = load_source(settings, config, dataset)
    sampling = Sampling(
        1, config.cross.temperature, config.sampling.max_new_tokens, derive_key(config.seed, "external response")
    )
    with display.phase("external responses", len(problems)) as advance:
        rollouts = model.engine.rollout([model.writer.solve(problem) for problem in problems], sampling, None, advance)
    texts, finished = model.writer.decode(rollouts.bodies), rollouts.finished.ravel()
    return {
        problem.id: Response(text.strip(), bool(ended))
        for problem, text, ended in zip(problems, texts, finished, strict=True)
    }
