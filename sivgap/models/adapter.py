"""LoRA adapters in PEFT's layout: their settings, their tensors' names, and merging one into its base model.

Merged as in training (`update.sft`): base + scale * B A in single precision, rounded once. PEFT's own merge rounds
twice, so a checkpoint that is loaded would not be quite the model that was measured.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from sivgap.errors import RunError
from sivgap.models.source import ADAPTER_SETTINGS, ADAPTER_WEIGHTS, read_settings

_HARMLESS = {
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "corda_config", "ensure_weight_tying",
    "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern",
    "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout", "lora_ga_config", "megatron_config",
    "megatron_core", "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern", "revision",
    "target_modules", "task_type", "use_rslora",
}  # fmt: skip
"""Settings under which an adapter is B A and nothing else, which its tensors and `AdapterSettings` say all of."""
_CHANGE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Initialisations that take a part out of the base model's weights."""

_NAME = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.default)?\.weight")


@dataclass(frozen=True)
class AdapterSettings:
    """What decides how much B A counts: alpha over the rank, or over its root (rank-stabilised)."""

    alpha: float
    alpha_of: Mapping[str, float]
    root: bool
    transposed: bool

    def scale(self, module: str, rank: int) -> float:
        named = [value for key, value in self.alpha_of.items() if module == key or module.endswith(f".{key}")]
        return (named[0] if named else self.alpha) / (rank**0.5 if self.root else rank)


def adapter_settings(folder: Path) -> AdapterSettings:
    """The settings of the adapter in a PEFT folder.

    Raises:
        RunError: If they cannot be read, or are of another kind of adapter.
    """
    stored = read_settings(folder)
    more = sorted(key for key in stored.keys() - _HARMLESS if stored[key])
    kind, start = stored.get("peft_type"), str(stored.get("init_lora_weights")).lower()
    what = f"peft_type={kind}" if kind != "LORA" else f"init_lora_weights={start}"
    if kind != "LORA" or more or start.startswith(_CHANGE_BASE):
        what = more[0] if kind == "LORA" and more else what
        raise RunError(
            f"{folder}: expected a plain LoRA adapter, found {what[:60]}; merge it with the program that made it, and "
            "give the merged folder"
        )
    patterns = stored.get("alpha_pattern") or {}
    alphas = {"": stored.get("lora_alpha"), **(patterns if isinstance(patterns, dict) else {"?": None})}
    if any(isinstance(a, bool) or not isinstance(a, int | float) or not abs(a) < 1e6 for a in alphas.values()):
        raise RunError(f"{folder / ADAPTER_SETTINGS}: lora_alpha and alpha_pattern must be numbers")
    if any(re.search(r"[^\w.-]", key) for key in alphas):
        raise RunError(f"{folder / ADAPTER_SETTINGS}: alpha_pattern must name modules, not patterns of names")
    alpha = alphas.pop("")
    return AdapterSettings(alpha, alphas, bool(stored.get("use_rslora")), bool(stored.get("fan_in_fan_out")))


def merge_adapter(model: PreTrainedModel, folder: Path) -> None:
    """Merge the adapter in a PEFT folder into `model`.

    Raises:
        RunError: If it cannot be read, or is of another model.
    """
    settings = adapter_settings(folder)
    try:
        tensors = load_file(folder / ADAPTER_WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise RunError(f"{folder / ADAPTER_WEIGHTS}: cannot be read ({' '.join(str(error).split())[:120]})") from error
    merge_tensors(model, tensors, settings, str(folder))


@torch.no_grad()
def merge_tensors(model: PreTrainedModel, tensors: Mapping[str, Tensor], settings: AdapterSettings, name: str) -> None:
    """Merge adapter `tensors`, called as PEFT calls them, into `model`; `name` stands for them in an error.

    Raises:
        RunError: If they are not the matrices A and B of linear modules of `model`.
    """
    own = dict(model.named_parameters())
    pairs: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        found = _NAME.fullmatch(key)
        if found is None:
            raise RunError(f"{name}: expected LoRA matrices of linear modules, found {key[:120]!r}")
        pairs.setdefault(found[1], {})[found[2]] = tensor
    if not pairs:
        raise RunError(f"{name}: holds no adapter")
    for module, pair in pairs.items():  # all are looked at before the first is merged
        weight = own.get(f"{module}.weight")
        if weight is None or not _fits(weight, pair, settings.transposed):
            raise RunError(
                f"{name}: an adapter of another base model than {model.name_or_path or 'the one given'}, whose "
                f"{module[:120]} {'is of another size' if weight is not None else 'does not exist'}; correct "
                f"base_model_name_or_path in {ADAPTER_SETTINGS}"
            )
    for module, pair in pairs.items():
        weight, down, up = own[f"{module}.weight"], pair["A"], pair["B"]
        scale = settings.scale(module, down.shape[0])
        delta = (up.float() @ down.float()).to(weight.device) * scale
        weight.copy_((weight.float() + (delta.T if settings.transposed else delta)).to(weight.dtype))


def _fits(weight: Tensor, pair: Mapping[str, Tensor], transposed: bool) -> bool:
    if pair.keys() != {"A", "B"} or any(tensor.ndim != 2 for tensor in (weight, *pair.values())):
        return False
    (rank, inputs), (outputs, same) = pair["A"].shape, pair["B"].shape
    return rank == same > 0 and weight.shape == ((inputs, outputs) if transposed else (outputs, inputs))
