"""What stands beside weights in a folder, so that transformers, peft and vLLM load them as they are."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path

import torch
from peft import LoraConfig
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from sivgap.models.source import ADAPTER_SETTINGS


def beside_adapter(config: LoraConfig) -> dict[str, bytes]:
    """``adapter_config.json`` of an adapter, as peft writes it, in an order that does not change."""
    settings = config.to_dict()
    settings |= {key: sorted(value) for key, value in settings.items() if isinstance(value, set)}
    settings["inference_mode"] = True
    return {ADAPTER_SETTINGS: (json.dumps(settings, indent=2, sort_keys=True) + "\n").encode()}


def beside_weights(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype) -> dict[str, bytes]:
    """Config, generation config and tokenizer of `model`, by file names; its weights are to be stored as `dtype`."""
    config = copy.deepcopy(model.config)
    config.dtype, config.architectures = dtype, [type(model).__name__]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        config.save_pretrained(folder)
        _write_generation_config(model.generation_config, folder)
        tokenizer.save_pretrained(folder)
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def write_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write `model` and its tokenizer into `folder`, in transformers' layout; of its weights large ones in parts."""
    generation, model.generation_config = model.generation_config, GenerationConfig()
    model.save_pretrained(folder)
    model.generation_config = generation
    _write_generation_config(generation, folder)
    tokenizer.save_pretrained(folder)
    for file in folder.glob("*.safetensors"):
        file.chmod(0o644)  # safetensors would have its owner alone read it


def _write_generation_config(config: GenerationConfig | None, folder: Path) -> None:
    """As it came with the model: its own `save_pretrained` refuses some that are published, Llama 2's for one."""
    if config is not None:
        config.to_json_file(folder / "generation_config.json")
