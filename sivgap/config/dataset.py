"""Settings of a dataset: ``conf/dataset``."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from sivgap.config.locate import shipped
from sivgap.config.settings import FilePath, Settings
from sivgap.registry import Axis

DATASETS = Axis("dataset", shipped("dataset"), "sivgap.tasks")


class DatasetConfig(Settings):
    name: Annotated[str, AfterValidator(DATASETS.check)]
    """Which task: how to read problems, and how to grade answers; ``module:Name`` is one of your own."""
    path: FilePath | None = None
    """A local ``.jsonl`` or ``.parquet`` file with the training problems, instead of the hub."""
    test_path: FilePath | None = None
    """Likewise for held-out problems; with ``path`` alone, ``test_share`` of the file is held out."""
    test_share: float = Field(default=0.1, gt=0, lt=1)
    """Share held out of ``path`` where no ``test_path`` is given, chosen by a hash of each problem."""
    hub_id: str | None = None
    """Dataset on the hub, read with the `datasets` library when no ``path`` is given."""
    hub_config: str | None = None
    """Its configuration (subset) on the hub; ``all`` joins every subset."""
    train_size: int | None = Field(default=None, ge=1)
    """Training problems to use, a seeded draw; null uses all. ``arithmetic`` and ``prontoqa`` generate this many (null:
    4,096 and 2,048, and 512 held out); ``sudoku`` has 216 (and 72 held out)."""
    test_size: int | None = Field(default=None, ge=1)
    """Held-out problems to use, likewise."""
    data_seed: int = Field(default=0, ge=0)
    """Seed of the draw of problems. It does not follow ``seed``, so runs of several seeds share their panels."""
    prompt: FilePath
    """File under ``conf/prompts`` (or any path) with the solver's prompt; ``{question}`` is replaced."""
    few_shot: int = Field(default=0, ge=0, le=64)
    """Worked examples put before each question, taken from training problems that are then not trained on."""
