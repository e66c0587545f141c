"""Source ``model``: a second, stronger local model answers, once, through the same engine."""

from __future__ import annotations

from collections.abc import Sequence

from sivgap.config.schema import TrainConfig
from sivgap.cross.external import Response
from sivgap.engines.noise import key_of
from sivgap.engines.rollout import Sampling
from sivgap.progress import Display
from sivgap.solver import load_source
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
    model = load_source(settings, config, dataset)
    sampling = Sampling(
        1, config.cross.temperature, config.sampling.max_new_tokens, key_of(config.seed, "external response")
    )
    with display.phase("external responses", len(problems)) as advance:
        rollouts = model.engine.rollout([model.writer.solve(problem) for problem in problems], sampling, None, advance)
    texts, finished = model.writer.decode(rollouts.bodies), rollouts.finished.ravel()
    return {
        problem.id: Response(text.strip(), bool(ended))
        for problem, text, ended in zip(problems, texts, finished, strict=True)
    }
