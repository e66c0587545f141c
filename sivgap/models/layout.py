"""What stands beside weights in a folder, so that transformers, peft and vLLM load them as they are."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from peft import LoraConfig
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sivgap.models.source import ADAPTER_SETTINGS


def beside_adapter(config: LoraConfig) -> dict[str, bytes]:
    """``adapter_config.json`` of an adapter, as peft writes it, in an order that does not change."""
    settings = config.to_dict()
    settings |= {key: sorted(value) for key, value in settings.items() if isinstance(value, set)}
    settings["inference_mode"] = True
    return {ADAPTER_SETTINGS: (json.dumps(settings, indent=2, sort_keys=True) + "\n").encode()}


def beside_weights(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype) -> dict[str, bytes]:
    """Config, generation config and tokenizer of `model`, whose weights are stored as `dtype`."""
    config = copy.deepcopy(model.config)
    config.dtype, config.architectures = dtype, [type(model).__name__]

    def write(folder: Path) -> None:
        config.save_pretrained(folder)
        if model.generation_config is not None:
            model.generation_config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return _written(write)


def _written(write: Callable[[Path], object]) -> dict[str, bytes]:
    """The files that `write` writes into a folder, by their names in it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write(folder)
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
