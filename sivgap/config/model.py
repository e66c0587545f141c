"""Settings of a model: ``conf/model``, and the other models of a verifier or of external data."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import Field, JsonValue, ValidationInfo, field_validator

from sivgap.config.settings import FilePath, Settings

UNNAMED = "custom"
"""Name in ``conf/model/custom.yaml``: the model is to be called by its path."""
_LONGEST = 80
"""Characters of a model's name."""
RESERVED = frozenset(
    {"conversation", "messages", "add_generation_prompt", "continue_final_message", "tokenize", "chat_template"}
    | {"tools", "documents", "padding", "truncation", "max_length", "return_tensors", "return_dict"}
    | {"tokenizer_kwargs", "return_assistant_tokens_mask"}
)
"""What sivgap itself tells ``apply_chat_template``, or what changes the type of its result."""
_TYPED_LINE_END = re.compile(r"\\n(?![a-z])")
"""Two characters that were meant as one; LaTeX goes on with a small letter, as in \\neq."""


class ModelSource(Settings):
    """Where a model comes from, and how it is spoken to."""

    path: FilePath | None = None
    """Hub id, folder, PEFT folder (merged into its base), checkpoint of a run (``.../checkpoints/epoch=...``), or
    ``.gguf`` file (``sivgap[gguf]``). Embedded models (``tiny``, ``tiny_m``, ...) have none."""
    revision: str | None = None
    """Branch, tag or commit on the hub; the commit actually loaded is written to ``status.json``."""
    chat_template: bool = True
    """Put prompts into the tokenizer's chat template; false sends plain text, right for base models."""
    system_prompt: Annotated[str, Field(min_length=1, max_length=100_000)] | None = None
    """System message before every conversation; null sends none, so that a template's own default stays."""
    chat_template_kwargs: dict[str, JsonValue] | None = None
    """Variables that the chat template knows, such as ``{enable_thinking: false}``."""
    stop: list[Annotated[str, Field(min_length=1, max_length=40)]] = Field(default=[])
    """Texts that end a response besides the end-of-sequence token; base models need one, chat models none."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of weights and activations; ``auto`` is bfloat16 on a GPU that has it and float32 elsewhere."""

    @field_validator("stop")
    @classmethod
    def _has_line_ends(cls, value: list[str]) -> list[str]:
        typed = next((text for text in value if _TYPED_LINE_END.search(text)), None)
        if typed is not None:
            raise ValueError(
                "expected line ends, not a backslash and an n: on a command line \\n stays as it is typed; write "
                "$'model.stop=[\"\\n\\nQuestion:\"]' in bash, or put it into a YAML file"
            )
        return value

    @field_validator("system_prompt", "chat_template_kwargs")
    @classmethod
    def _has_a_template(cls, value: object, info: ValidationInfo) -> object:
        if value and not info.data.get("chat_template"):
            raise ValueError("expected null with chat_template=false, since plain text has no place for it")
        if isinstance(value, dict) and (reserved := sorted(RESERVED & set(value))):
            raise ValueError(f"expected no {', '.join(reserved)}, which sivgap sets itself")
        return value or None


class ModelConfig(ModelSource):
    name: str = Field(pattern=r"^\w[\w.-]{0,79}$")
    """Name of the configuration; part of the run's identity, and of its directory's name. One called ``custom``
    is shown as the last part of ``model.path``."""
    lora_targets: list[str] = Field(min_length=1)
    """Names of the linear modules that get an adapter when ``update.parameters=lora``."""
    parameters: float = Field(gt=0)
    """Number of parameters, for the record and for cost estimates."""
    tokens: float | None = Field(default=None, gt=0)
    """Tokens D that pretraining read, for scaling against its FLOPs, 6 N D (MG); null where it was not published."""
    licence: str
    """Licence under which the weights are distributed, and what it asks of you."""

    @property
    def label(self) -> str:
        """What it is called in directories and on pages: its name, or that of its path."""
        return shown_name(self.name, self.path)


def shown_name(name: str, path: str | None) -> str:
    """`name`, or where that says nothing what a model at `path` is called."""
    return name_of(path) if name == UNNAMED and path else name


def name_of(path: str) -> str:
    """What a model at `path` is called: the last part of a folder or hub id, and of a run's checkpoint its run's name
    and epoch; in letters, digits, ``_``, ``-`` and ``.``, at most 80 of them.
    """
    place = PurePath(path)
    last = place.stem if place.suffix.lower() == ".gguf" else place.name
    run, epoch = place.parent.parent.name, re.fullmatch(r"epoch=(.+)", last)
    if epoch and run:
        behind = f"-epoch{epoch[1]}"
        last = run[: _LONGEST - len(behind)] + behind
    return re.sub(r"[^\w.-]", "_", last).lstrip(".-")[:_LONGEST] or UNNAMED
