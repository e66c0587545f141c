"""Settings of the engine that samples: ``conf/engine``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sivgap.config.settings import Settings


class EngineConfig(Settings):
    name: Literal["hf", "vllm"] = "hf"
    """What samples: ``hf``, transformers' models with a shared prompt cache, or ``vllm``. Other models than the
    solver (``verifier.model``, ``cross.model``) answer with ``hf``."""
    batch_size: int = Field(default=256, ge=1)
    """Responses under way at once; more is faster until memory ends. Responses do not depend on it."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of each process; null takes what is fastest when a run begins, measured in a fifth of a second, up to
    torch's choice shared out among ``launch.processes``; ``status.json`` names it, and the run keeps it."""
    handover: Literal["merged", "adapter"] = "merged"
    """Of ``vllm``: how it gets the trained weights, all of them merged or as an adapter under a new id. Numbers differ
    by rounding alone."""
    tensor_parallel: int = Field(default=1, ge=1)
    """Of ``vllm``: how many of ``launch.processes`` share one engine, each with a part of every layer."""
    memory: float = Field(default=0.5, gt=0, lt=1)
    """Of ``vllm``: share of a GPU's memory that it takes while it samples; most of it is free while training."""
