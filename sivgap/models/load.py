"""Loading a model and its tokenizer: an embedded one, a local folder, or the hub. Safetensors only, no remote code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from sivgap.config.model import ModelConfig, ModelSource
from sivgap.errors import RunError
from sivgap.models.files import check_files
from sivgap.tiny import located


@dataclass(frozen=True)
class Loaded:
    """A model in inference precision on its device, its tokenizer, and the tokens that end a response."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    end_tokens: tuple[int, ...]
    commit: str | None


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_model(config: ModelSource) -> Loaded:
    """Load what `config` names.

    Raises:
        RunError: If it cannot be found or read, with what to do.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    source = located(config.path or (config.name if isinstance(config, ModelConfig) else "tiny"))
    options = {"revision": config.revision} if config.revision else {}
    if not Path(source).exists() and source.count("/") != 1:
        raise RunError(f"model.path={source}: no such folder, and not a hub id (OWNER/NAME)")
    if Path(source).is_dir():
        check_files(Path(source))
    try:
        AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **options)
        model = AutoModelForCausalLM.from_pretrained(
            source, dtype=_dtype(config), trust_remote_code=False, use_safetensors=True, **options
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise RunError(_unloadable(source, config, error)) from error
    except Exception as error:  # safetensors and the hub client have exception types of their own
        raise RunError(_unloadable(source, config, error)) from error
    _check(config, tokenizer)
    ends = {tokenizer.eos_token_id}
    generation = getattr(model, "generation_config", None)
    stated = getattr(generation, "eos_token_id", None)
    ends |= set(stated) if isinstance(stated, list) else {stated}
    first = int(tokenizer.eos_token_id)  # the one that training teaches
    end_tokens = (first, *sorted(token for token in ends if token is not None and token != first))
    commit = getattr(model.config, "_commit_hash", None)
    return Loaded(model.to(device()), tokenizer, end_tokens, commit)


def pad_token(loaded: Loaded) -> int:
    """Any valid id for masked places; many models name none."""
    named = loaded.tokenizer.pad_token_id
    return int(named) if named is not None else loaded.end_tokens[0]


def context_length(model: PreTrainedModel) -> int | None:
    """Tokens that the model can read at once; None where it does not say."""
    limits = [getattr(model.config, "max_position_embeddings", None)]
    if getattr(model.config, "use_sliding_window", True):
        limits.append(getattr(model.config, "sliding_window", None))
    return min((limit for limit in limits if limit), default=None)


def _dtype(config: ModelSource) -> torch.dtype:
    if config.dtype != "auto":
        return getattr(torch, config.dtype)  # type: ignore[no-any-return]
    good_gpu = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if good_gpu else torch.float32


def _check(config: ModelSource, tokenizer: PreTrainedTokenizerBase) -> None:
    if tokenizer.eos_token_id is None:
        raise RunError(f"{config.path}: its tokenizer names no end-of-sequence token, so a response could never end")
    if config.chat_template and tokenizer.chat_template is None:
        raise RunError(
            f"{config.path}: its tokenizer has no chat template; set model.chat_template=false to send plain text"
        )


def check_targets(config: ModelConfig, model: PreTrainedModel) -> None:
    """Raises RunError if `model` has not got the modules that are to get adapters."""
    if config.lora_targets != ["all-linear"]:
        modules = {name.rpartition(".")[2] for name, _ in model.named_modules()}
        absent = [target for target in config.lora_targets if target not in modules]
        if absent:
            raise RunError(
                f"model.lora_targets: this model has no module named {', '.join(absent)}; "
                "name its linear modules, or set model.lora_targets=[all-linear]"
            )


def _unloadable(source: str, config: ModelSource, error: Exception) -> str:
    reason = " ".join(str(error).split())[:160]
    if Path(source).exists():
        return (
            f"model.path={source} cannot be loaded ({reason}); expected a folder with config.json, tokenizer files "
            "and *.safetensors in the transformers layout"
        )
    licence = (
        f" (after accepting its licence: {config.licence.split(':')[0]})" if isinstance(config, ModelConfig) else ""
    )
    return (
        f"model {source} is neither in the local cache nor reachable on the hub; where there is a network, run "
        f"'hf download {source}'{licence}, or give a local copy "
        "with model.path=FOLDER"
    )
