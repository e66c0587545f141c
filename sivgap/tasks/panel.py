"""Fixed panels of problems: what is measured again and again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sivgap.config.schema import TrainConfig
from sivgap.core.problem import Problem
from sivgap.runtime.rng import derive_key
from sivgap.tasks.load import Dataset


def draw_panel(problems: Sequence[Problem], size: int | None, data_seed: int, split: str) -> list[Problem]:
    """`size` problems of a split in a seeded order, nested in `size`; None, or more than there are, takes all."""
    order = np.random.default_rng(derive_key(data_seed, "panel", split)).permutation(len(problems))
    return [problems[i] for i in order[:size]]


def panels(config: TrainConfig, dataset: Dataset) -> dict[str, Sequence[Problem]]:
    """Those that a run measures: a seeded choice of the training problems, and of the held-out ones."""
    sizes = {"train": config.measure.train_prompts, "test": config.measure.test_prompts}
    return {
        split: draw_panel(problems, sizes[split], config.dataset.data_seed, split)
        for split, problems in (("train", dataset.train), ("test", dataset.test))
    }
