"""Loading a model and its tokenizer, from whatever `source` finds. Safetensors or GGUF only, no remote code."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from dataclasses import dataclass
from importlib.util import find_spec
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
from sivgap.models.adapter import merge_adapter
from sivgap.models.ends import check_vocabulary, embedding_rows, end_tokens
from sivgap.models.source import Source, find_source, lasting_name
from sivgap.runtime.hardware import return_freed_memory


@dataclass(frozen=True)
class Loaded:
    """A model in inference precision on its device, with its tokenizer.

    Attributes:
        end_tokens: Each of them ends a response; the first one ends a text that somebody else wrote.
        commit: Of the hub.
    """

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
    named = config.path or (config.name if isinstance(config, ModelConfig) else "tiny")
    source = find_source(named, config.revision)
    if "gguf_file" in source.options and find_spec("gguf") is None:
        raise RunError(f"{source.file}: reading GGUF needs the gguf package; pip install 'sivgap[gguf]'")
    try:
        with redirect_stderr(io.StringIO()):  # the GGUF reader's own progress bar
            tokenizer, model = _read(source, _dtype(config))
    except Exception as error:  # safetensors, gguf and the hub client have exception types of their own
        raise RunError(_unloadable(source, config, error)) from error
    for adapter in source.adapters:
        merge_adapter(model, adapter)
    model.name_or_path = lasting_name(named)
    _check(config, tokenizer)
    ends = end_tokens(model, tokenizer, config.chat_template, config.chat_template_kwargs)
    if not ends:
        raise RunError(f"{named}: its tokenizer names no end-of-sequence token, so a response could never end")
    check_vocabulary(named, model, tokenizer, ends)
    commit = getattr(model.config, "_commit_hash", None)
    _leave_file(model)
    return_freed_memory()  # a tokenizer of 262,144 tokens leaves a third of a GiB behind
    return Loaded(model.to(device()), tokenizer, ends, commit)


@torch.no_grad()
def _leave_file(model: PreTrainedModel) -> None:
    """Copy weights out of the file they are mapped from; as long as one is in there, all of it counts as memory."""
    if device().type == "cpu":
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.data = tensor.data.clone()


def _read(source: Source, dtype: torch.dtype) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """The tokenizer and the base model; whatever the libraries raise passes through."""
    options = {**source.options, "trust_remote_code": False}
    if source.tokenizer is None:
        tokenizer = AutoTokenizer.from_pretrained(source.path, **options)
    else:
        tokenizer = AutoTokenizer.from_pretrained(source.tokenizer, trust_remote_code=False)
    if "gguf_file" not in options:
        AutoConfig.from_pretrained(source.path, **options)  # the cheapest that can be wrong comes first
        options["use_safetensors"] = True
    model = AutoModelForCausalLM.from_pretrained(source.path, dtype=dtype, **options)
    if "gguf_file" in options:  # its weights are whole numbers no longer, and it can be written as any other
        model.hf_quantizer = None
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
    return tokenizer, model


def pad_token(loaded: Loaded) -> int:
    """Any valid id for masked places; many models name none, or one that they have no embedding for."""
    named = loaded.tokenizer.pad_token_id
    known = named is not None and named < embedding_rows(loaded.model)
    return int(named) if known else loaded.end_tokens[0]


def context_length(model: PreTrainedModel) -> int | None:
    """Tokens that the model can read at once; None where it does not say.

    A sliding window is no limit of it: through its layers a token sees further back than the window of one.
    """
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


def _dtype(config: ModelSource) -> torch.dtype:
    if config.dtype != "auto":
        return getattr(torch, config.dtype)  # type: ignore[no-any-return]
    good_gpu = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if good_gpu else torch.float32


def _check(config: ModelSource, tokenizer: PreTrainedTokenizerBase) -> None:
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


def _unloadable(source: Source, config: ModelSource, error: Exception) -> str:
    reason = " ".join(str(error).split())[:160]
    if "gguf_file" in source.options:
        return (
            f"{source.file}: broken, or a GGUF file of a kind that transformers does not read ({reason}); expected a "
            "language model in one file"
        )
    if Path(source.path).exists():
        return (
            f"model.path={source.path} cannot be loaded ({reason}); expected a folder with config.json, tokenizer "
            "files and *.safetensors in the transformers layout"
        )
    licence = (
        f" (after accepting its licence: {config.licence.split(':')[0]})" if isinstance(config, ModelConfig) else ""
    )
    return (
        f"model {source.path} is neither in the local cache nor reachable on the hub; where there is a network, run "
        f"'hf download {source.path}'{licence}, or give a local copy "
        "with model.path=FOLDER"
    )
