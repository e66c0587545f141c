"""The problems of a run that is only planned: as they are, or as many as were published where they are not here."""

from __future__ import annotations

from sivgap.config.dataset import DatasetConfig
from sivgap.core.problem import Problem
from sivgap.errors import RunError
from sivgap.tasks.load import Dataset, load_dataset
from sivgap.tasks.task import task_of


def planned_problems(config: DatasetConfig) -> tuple[Dataset, bool]:
    """The problems, and whether they are only stand-ins, of the published number and length.

    Raises:
        RunError: If they are not here, and nothing is known of them; or a local file is broken.
    """
    published = task_of(config.name).published
    try:
        return load_dataset(config), False
    except RunError:
        if config.path is not None or published is None:
            raise
    train, test, characters = published
    sizes = {"train": min(config.train_size or train, train), "test": min(config.test_size or test, test)}
    made = {
        split: [Problem(f"{config.name}/{split}/{i}", "x" * characters, "") for i in range(size)]
        for split, size in sizes.items()
    }
    return Dataset(made["train"], made["test"], []), True
