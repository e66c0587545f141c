"""Settings of a model: ``conf/model``, and the other models of a verifier or of external data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sivgap.config.settings import FilePath, Settings


class ModelSource(Settings):
    """Where a model comes from, and how it is spoken to."""

    path: FilePath | None = None
    """Local folder or hub id. Embedded models (``tiny``, ``tiny_m``, ...) have none."""
    revision: str | None = None
    """Branch, tag or commit on the hub; the commit actually loaded is written to ``status.json``."""
    chat_template: bool = True
    """Put prompts into the tokenizer's chat template; false sends plain text, right for base models."""
    stop: list[Annotated[str, Field(min_length=1, max_length=40)]] = Field(default=[])
    """Texts that end a response besides the end-of-sequence token; base models need one, chat models none."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of weights and activations; ``auto`` is bfloat16 on a GPU that has it and float32 elsewhere."""


class ModelConfig(ModelSource):
    name: str = Field(pattern=r"^\w[\w.-]{0,79}$")
    """Name of the configuration; part of the run's identity, and of its directory's name."""
    lora_targets: list[str] = Field(min_length=1)
    """Names of the linear modules that get an adapter when ``update.parameters=lora``."""
    parameters: float = Field(gt=0)
    """Number of parameters, for the record and for cost estimates."""
    tokens: float | None = Field(default=None, gt=0)
    """Tokens D that pretraining read, for scaling against its FLOPs, 6 N D (MG); null where it was not published."""
    licence: str
    """Licence under which the weights are distributed, and what it asks of you."""
