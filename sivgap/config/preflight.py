"""Every setting that `sivgap.preflight` has beside those of a run of `sivgap.train`."""

from __future__ import annotations

from pydantic import Field

from sivgap.config.schema import TrainConfig
from sivgap.config.settings import FilePath


class PreflightConfig(TrainConfig):
    """A look at a run before it is started."""

    problems: int = Field(default=16, ge=2, le=1024)
    """Problems of the training set that are tried, fewer where they would take longer than ``minutes``."""
    minutes: float = Field(default=2.0, gt=0, le=60)
    """What the whole of it may take, about, loading included."""
    out: FilePath | None = None
    """Folder for ``preflight.json`` and ``preflight.md``; null is ``preflight/MODEL-DATASET-VERIFIER``."""
