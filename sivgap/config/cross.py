"""Settings of external data: ``conf/cross``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from sivgap.config.model import ModelSource
from sivgap.config.settings import FilePath, Settings


class ApiConfig(Settings):
    model: str | None = None
    """Name of the model at the endpoint."""
    base_url: str | None = None
    """An OpenAI-compatible endpoint; null is OpenAI's own."""
    key_env: str = Field(default="OPENAI_API_KEY", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)
    """Environment variable that holds the key; the key itself never enters a configuration or a log."""
    input_price: float | None = Field(default=None, ge=0)
    """US dollars a million tokens sent; 0 for a server of your own."""
    output_price: float | None = Field(default=None, ge=0)
    """US dollars a million tokens received; 0 for a server of your own."""
    max_cost: float = Field(default=10.0, ge=0)
    """US dollars that one collection may cost at most; it stops before it would exceed them."""
    concurrency: int = Field(default=8, ge=1, le=256)
    """Requests under way at once."""
    retries: int = Field(default=6, ge=0, le=20)
    """Attempts after the first, with growing pauses, at what may pass: 429, 5xx, time-outs, cut connections."""
    timeout: float = Field(default=120.0, gt=0)
    """Seconds that one attempt may take."""
    cache: FilePath = "~/.cache/sivgap/api"
    """Folder of the answers that were paid for, shared by all runs."""

    @field_validator("base_url")
    @classmethod
    def _without_secret(cls, value: str | None) -> str | None:
        if value is not None and "@" in value:
            raise ValueError("expected an address without name and password; the key belongs in the environment")
        return value


class CrossConfig(Settings):
    """External data (SV Sec. 5): which prompts get an external response, and when."""

    strategy: Literal["none", "early", "uniform", "late", "custom"] = "none"
    """``early`` gives all in epoch 1, ``uniform`` equal shares over the first ``cross.epochs``, ``late`` all in the
    last of these, ``custom`` what ``cross.schedule`` says."""
    budget: float = Field(default=0.25, gt=0)
    """H: share of the training prompts that get an external response, up to 1; above 1 their number."""
    epochs: int = Field(default=8, ge=1)
    """Epochs of ``uniform``, and the epoch of ``late``."""
    schedule: list[Annotated[float, Field(ge=0)]] | None = None
    """For ``custom``: what is given in epochs 1, 2, ..., adding up to ``budget``; or the path of an ``allocation.json``
    of `sivgap.allocate`, whose best plan is taken."""
    source: Literal["reference", "file", "model", "api"] = "reference"
    """Where external responses come from: the dataset's solutions, ``cross.file``, ``cross.model``, ``cross.api``."""
    file: FilePath | None = None
    """A .jsonl or .parquet file whose records have ``response``, and ``id`` or ``question``."""
    model: ModelSource = ModelSource()
    api: ApiConfig = ApiConfig()
    temperature: float = Field(default=0.0, ge=0, le=2)
    """Of the responses of ``model`` and ``api``."""

    @field_validator("schedule", mode="before")
    @classmethod
    def _from_file(cls, value: object) -> object:
        from sivgap.config.allocation import read_schedule

        return read_schedule(Path(value)) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _consistent(self) -> CrossConfig:
        if self.budget > 1 and not float(self.budget).is_integer():
            raise ValueError(f"budget: expected a share up to 1, or a whole number of prompts, got {self.budget:g}")
        if self.strategy == "none":
            return self
        needs = {
            "file": ("file", self.file),
            "model": ("model.path", self.model.path),
            "api": ("api.model", self.api.model),
        }
        key, value = needs.get(self.source, ("", "given"))
        if not value:
            raise ValueError(f"source={self.source} needs cross.{key}")
        if self.source == "file" and Path(self.file or "").suffix not in (".jsonl", ".parquet"):
            raise ValueError(f"file: expected a .jsonl or .parquet file, got {self.file}")
        if self.source == "api" and (self.api.input_price is None or self.api.output_price is None):
            raise ValueError(
                "source=api needs cross.api.input_price and cross.api.output_price, US dollars a million tokens (0 for "
                "a server of your own), to keep cross.api.max_cost"
            )
        return self
