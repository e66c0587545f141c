"""What all settings are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


def _nameable(path: str) -> str:
    if "\0" in path or len(path) > 4000 or any(len(part.encode(errors="replace")) > 255 for part in path.split("/")):
        raise ValueError("expected a path, with names of at most 255 bytes")
    return path


FilePath = Annotated[str, AfterValidator(_nameable)]
"""A path that a file system can be asked for."""


class Settings(BaseModel):
    """Base of all settings: unknown keys are errors, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
