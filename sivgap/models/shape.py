"""A model's dimensions, for its speed and memory: from its configuration, or from its number of parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sivgap.config.model import ModelConfig
from sivgap.errors import RunError
from sivgap.models.source import find_source

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_WIDTH_A_LAYER = 110
"""Hidden size over layers where nothing is known: 96 to 128 in Llama 3, Phi-4 and Qwen2.5 from 3 to 70 billion."""
_IN_LAYERS = 0.9
"""Share of the parameters that lie in layers, likewise; the others are embeddings."""
_VOCABULARY = 128_000
_LEAN = ("llama", "mistral", "qwen2", "qwen3", "phi3")
"""Of whose kind the lean pass has been seen to be."""


@dataclass(frozen=True)
class Shape:
    """A decoder of gated blocks. `queries` and `keys` are widths: heads times their dimension.

    Attributes:
        parameters: N.
        head: Width of an attention head.
        assumed: Whether the dimensions follow from N by the rule of `of_parameters`.
        lean: Whether it is of a kind that takes the lean pass (`models.decoder`).
    """

    layers: int
    hidden: int
    queries: int
    keys: int
    inner: int
    vocabulary: int
    parameters: float
    head: int = 128
    assumed: bool = False
    lean: bool = False

    def linear(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of the linear modules of a layer, by the names that transformers gives them."""
        d, q, k, i = self.hidden, self.queries, self.keys, self.inner
        apart = {"q_proj": (d, q), "k_proj": (d, k), "v_proj": (d, k), "o_proj": (q, d), "gate_proj": (d, i)}
        joined = {"qkv_proj": (d, q + 2 * k), "gate_up_proj": (d, 2 * i)}  # Phi's names for the same weights
        return apart | {"up_proj": (d, i), "down_proj": (i, d)} | joined

    def targets(self, names: Sequence[str]) -> list[tuple[int, int]]:
        """Inputs and outputs of a layer's modules called `names`; ``all-linear`` is all of them."""
        linear = self.linear()
        if list(names) == ["all-linear"]:
            names = [name for name in linear if name not in ("qkv_proj", "gate_up_proj")]
        return [linear[name] for name in names if name in linear]

    def forward(self, tokens: float, context: float) -> float:
        """FLOPs of `tokens` tokens that attend to `context` others each: 2 N, and 4 a layer and attended place (Kaplan
        et al. 2020, Section 2.1)."""
        return tokens * (2 * self.parameters + 4 * self.layers * self.queries * context)


def shape_of(model: ModelConfig) -> Shape:
    """The shape of `model`: from its configuration if that is on this machine, else from ``model.parameters``."""
    from transformers import AutoConfig

    try:
        source = find_source(model.path or model.name, model.revision, online=False)
        found = AutoConfig.from_pretrained(
            source.path, trust_remote_code=False, local_files_only=True, **source.options
        ).get_text_config()
        return stated(found)
    except (OSError, ValueError, AttributeError, KeyError, ImportError, RunError):
        return of_parameters(model.parameters)


def stated(config: PretrainedConfig) -> Shape:
    """The shape that a text model's configuration states.

    Raises:
        AttributeError: If it calls its dimensions otherwise.
    """
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    grouped = getattr(config, "num_key_value_heads", None) or heads
    shape = Shape(config.num_hidden_layers, config.hidden_size, heads * width, grouped * width,
                  config.intermediate_size, config.vocab_size, 0, width, lean=config.model_type in _LEAN)  # fmt: skip
    in_layers = shape.layers * sum(i * o for i, o in shape.targets(["all-linear"]))
    embeddings = shape.vocabulary * shape.hidden * (1 if config.tie_word_embeddings else 2)
    return replace(shape, parameters=float(in_layers + embeddings))


def is_here(model: ModelConfig) -> bool:
    """Whether the weights of `model` can be loaded without a network."""
    from huggingface_hub import try_to_load_from_cache

    try:
        source = find_source(model.path or model.name, model.revision, online=False)
    except RunError:
        return False
    if Path(source.path).is_dir():
        return True
    revision = source.options.get("revision")
    names = ("model.safetensors", "model.safetensors.index.json")
    return any(isinstance(try_to_load_from_cache(source.path, name, revision=revision), str) for name in names)


def of_parameters(parameters: float) -> Shape:
    """A rule: 90 % of the parameters in layers of 12 d^2, d = 110 times their number, keys of d / 4 (grouped)."""
    layers = max(1, round((_IN_LAYERS * parameters / (12 * _WIDTH_A_LAYER**2)) ** (1 / 3)))
    hidden = round((_IN_LAYERS * parameters / (12 * layers)) ** 0.5)
    keys, inner = hidden // 4, round(9.5 / 3 * hidden)  # 2.5 d^2 in attention, 9.5 d^2 in the block behind it
    return Shape(layers, hidden, hidden, keys, inner, _VOCABULARY, parameters, assumed=True)
