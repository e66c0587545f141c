"""One pass of a decoder of Llama's kind, in few and large operations.

transformers runs a layer in some sixty operations; where few rows are under way, or the model is small, a step takes
as long as they are many. Here queries, keys and values are one matrix product, gate and up another, and the rotation of
queries and keys one as well. The weights stay the model's parameters: they come to lie side by side in memory, so
whoever copies new values into a parameter changes both, and nothing is kept twice.

A model is taken for one of this kind by its modules' names (Llama, Mistral, Qwen 2 and 3, Phi 3 have them), and by what
both ways make of a real text: each layer in float32, on the same input, then the whole in the model's own precision.
What scales or caps something elsewhere keeps transformers' own pass.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from sivgap.models.prepacked_linear import PrepackedLinear, rounded, worth_copying

Attention = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""Of a layer, by its number: of new queries (rows, new, H, D), keys and values (rows, new, H_kv, D), with scores scaled
by D^-1/2, an output of the queries' shape."""
Shape = tuple[int, int]
"""Rows, and new tokens of each."""

_AGREES = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest difference between the logits of both ways, beside the largest logit: a model's own rounding (SmolLM2's
bfloat16 is within .02 on real text)."""
_LAYER_AGREES = 1e-4
"""Likewise of what a layer adds, in float32."""


class KeyValueCache:
    """Causal attention over texts padded on the left, which keeps what was attended to.

    Attributes:
        states: Keys and values of each layer so far, (rows, H_kv, L, D).
    """

    def __init__(self, mask: Tensor, windows: Sequence[int | None] = ()) -> None:
        """`mask`: bool (rows, L), False on padding; `windows`: of each layer how many tokens up to its own a token sees
        (None: all)."""
        every = torch.ones(mask.shape[1:] * 2, dtype=torch.bool, device=mask.device).tril()
        padded = not bool(mask.all())

        def seen(window: int | None) -> Tensor | None:
            near = every if window is None else every.triu(1 - window)
            if padded:
                return mask[:, None, None] & near | every.triu()  # padding sees itself
            return None if window is None else near

        narrow = {window for window in windows if window is not None and window < mask.shape[1]}
        self._whole = seen(None)
        self._masks: dict[int | None, Tensor | None] = {window: seen(window) for window in narrow}
        self._windows = windows
        self.states: list[tuple[Tensor, Tensor]] = []

    def attention(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        self.states.append((key, value))
        shared = query.shape[1] // key.shape[1]
        key, value = (states.repeat_interleave(shared, 1) if shared > 1 else states for states in (key, value))
        mask = self._masks.get(self._windows[layer], self._whole) if self._masks else self._whole
        out = functional.scaled_dot_product_attention(query, key, value, mask, is_causal=mask is None)
        return out.transpose(1, 2)


@dataclass(frozen=True)
class Norm:
    """x / rms(x), times a weight."""

    weight: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self.weight.shape, self.weight, self.eps)


@dataclass(frozen=True)
class Layer:
    """What a layer multiplies with, in the order of use; `heads` are the numbers of those of queries and of keys,
    `window` is how many tokens up to its own a token attends to (None: all)."""

    before_attention: Norm
    qkv: PrepackedLinear
    heads: tuple[int, int]
    query_norm: Norm | None
    key_norm: Norm | None
    out: PrepackedLinear
    before_block: Norm
    gate_up: PrepackedLinear
    activation: Callable[[Tensor], Tensor]
    down: PrepackedLinear
    window: int | None

    @property
    def products(self) -> list[PrepackedLinear]:
        return [self.qkv, self.out, self.gate_up, self.down]

    def attention(self, number: int, x: Tensor, turn: tuple[Tensor, Tensor], shape: Shape, attend: Attention) -> Tensor:
        queries, keys = self.heads
        qkv = self.qkv(x).view(len(x), queries + 2 * keys, -1)
        query_key, value = qkv[:, : queries + keys], qkv[:, queries + keys :]
        if self.query_norm is not None and self.key_norm is not None:
            query_key = torch.cat([self.query_norm(qkv[:, :queries]), self.key_norm(query_key[:, queries:])], 1)
        query_key, value = _shaped(_turned(query_key, *turn), shape), _shaped(value, shape)
        out = attend(number, query_key[:, :, :queries], query_key[:, :, queries:], value)
        return self.out(_filled(out.flatten(2).flatten(0, 1), len(x)))

    def __call__(self, number: int, x: Tensor, turn: tuple[Tensor, Tensor], shape: Shape, attend: Attention) -> Tensor:
        x = x + self.attention(number, self.before_attention(x), turn, shape, attend)
        return x + self.block(self.before_block(x))

    def block(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, -1)
        return self.down(self.activation(gate).mul_(up))


class Decoder:
    """The pass of `model`.

    Raises:
        AttributeError, TypeError: If it is made of other modules.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        core: Any = model.model
        self._embed, self._rotary, self._norm = core.embed_tokens, core.rotary_emb, _norm(core.norm)
        heads = model.config.num_attention_heads, model.config.num_key_value_heads
        self._layers = [_layer(layer, heads) for layer in core.layers]
        self._head = _joined([model.get_output_embeddings()])
        self._products = [product for layer in self._layers for product in layer.products] + [self._head]
        self._copies = worth_copying(self._products)

    def take_weights(self) -> None:
        """To be called before the first pass that is to be fast, and when the model's weights have changed."""
        for product in self._products if self._copies else ():
            product.prepack()

    def drop_copies(self) -> None:
        """Give up copies of the weights until `take_weights`."""
        for product in self._products:
            product.drop_prepacked()

    @property
    def windows(self) -> list[int | None]:
        """Of each layer how many tokens up to its own a token attends to; None for all."""
        return [layer.window for layer in self._layers]

    def __call__(self, tokens: Tensor, position: Tensor, attend: Attention, at: Tensor | None = None) -> Tensor:
        """Logits (rows, new, V) of `tokens` (rows, new) at the positions `position`, (rows, new); with `at`, (rows,),
        only of what follows that one of each row's, (rows, 1, V)."""
        shape = tokens.shape[0], tokens.shape[1]
        length = self._length(tokens.numel())
        x = self._embed(_filled(tokens.flatten(), length))  # (length, hidden): one row a token, unread ones at the end
        turn = self._turn(x, _filled(position.flatten(), length))
        for number, layer in enumerate(self._layers):
            x = layer(number, x, turn, shape, attend)
        if at is not None:
            x, shape = _shaped(x, shape)[torch.arange(shape[0], device=at.device), at], (shape[0], 1)
            x = _filled(x, self._length(len(x)))
        return _shaped(self._head(self._norm(x)), shape)

    def _turn(self, x: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and signed sines (length, 1, D) of the rotary embedding at `position`, in the precision of `x`."""
        cos, sin = self._rotary(x[None], position[None])
        low, high = sin[0].chunk(2, -1)
        return cos[0][:, None], torch.cat([-low, high], -1)[:, None]

    def _length(self, rows: int) -> int:
        return rounded(rows) if self._copies else rows


def _filled(x: Tensor, length: int) -> Tensor:
    """`x` with zeros behind, up to `length` rows."""
    return x if len(x) == length else torch.cat([x, x.new_zeros(length - len(x), *x.shape[1:])])


def _shaped(x: Tensor, shape: Shape) -> Tensor:
    """(length, ...) -> (rows, new, ...), without what fills it up."""
    return x[: math.prod(shape)].view(*shape, *x.shape[1:])


def _turned(x: Tensor, cos: Tensor, signed_sin: Tensor) -> Tensor:
    """Rotary position embeddings of as much of each head as `cos` is wide."""
    width = cos.shape[-1]
    part = x[..., :width]
    turned = torch.addcmul(part * cos, part.roll(width // 2, -1), signed_sin)
    return turned if width == x.shape[-1] else torch.cat([turned, x[..., width:]], -1)


def _layer(layer: Any, heads: tuple[int, int]) -> Layer:
    attention, block = layer.self_attn, layer.mlp
    apart, normed = hasattr(attention, "q_proj"), hasattr(attention, "q_norm")
    return Layer(
        before_attention=_norm(layer.input_layernorm),
        qkv=_joined([attention.q_proj, attention.k_proj, attention.v_proj] if apart else [attention.qkv_proj]),
        heads=heads,
        query_norm=_norm(attention.q_norm) if normed else None,
        key_norm=_norm(attention.k_norm) if normed else None,
        out=_joined([attention.o_proj]),
        before_block=_norm(layer.post_attention_layernorm),
        gate_up=_joined([block.gate_proj, block.up_proj] if apart else [block.gate_up_proj]),
        activation=block.act_fn if apart else block.activation_fn,
        down=_joined([block.down_proj]),
        window=_window(attention),
    )


def _window(attention: Any) -> int | None:
    stated = attention.sliding_window if hasattr(attention, "sliding_window") else None
    if not hasattr(attention, "sliding_window"):
        stated = getattr(getattr(attention, "config", None), "sliding_window", None)
    return None if stated is None else int(stated)


def _norm(module: Any) -> Norm:
    return Norm(module.weight, module.variance_epsilon)


def _joined(modules: Sequence[nn.Module]) -> PrepackedLinear:
    """One module in place of several, whose parameters become parts of its own."""
    linear = [module for module in modules if type(module) is nn.Linear]
    biases = [module.bias for module in linear if module.bias is not None]
    if len(linear) < len(modules) or len(biases) not in (0, len(modules)):
        raise TypeError("modules that do not lie side by side")
    return PrepackedLinear(_side_by_side([m.weight for m in linear]), _side_by_side(biases) if biases else None)


@torch.no_grad()
def _side_by_side(parameters: Sequence[Tensor]) -> Tensor:
    if len(parameters) == 1:
        return parameters[0]
    whole = torch.cat(list(parameters))
    start = 0
    for parameter in parameters:
        parameter.data = whole[start : start + len(parameter)]
        start += len(parameter)
    return whole


def decoder_of(model: PreTrainedModel, text: Sequence[int] = range(8)) -> tuple[Decoder | None, str]:
    """The pass of `model`, where it is of this kind and makes what the model makes of `text`; else None, and why.

    Args:
        text: Tokens of a real text: what a model makes of tokens that never stand side by side is mostly rounding.
    """
    ids = torch.tensor(list(text), device=model.device)[None]
    position = torch.arange(ids.shape[1], device=model.device)[None]
    try:
        decoder = Decoder(model)
        with torch.inference_mode():
            kept = KeyValueCache(torch.ones_like(ids, dtype=torch.bool), decoder.windows)
            found = decoder(ids, position, kept.attention).float()
    except (AttributeError, TypeError, RuntimeError) as error:  # made of other modules, or of others' shapes
        return None, f"its modules are others than Llama's ({' '.join(str(error).split())[:80]})"
    with torch.inference_mode(), _inputs(model) as taken:
        expected = model(input_ids=ids, position_ids=position, use_cache=False).logits.float()
    embedded, layers = taken[0][0][0], model.model.layers
    if not torch.equal(embedded, model.get_input_embeddings()(ids)):
        return None, "it scales its embeddings"
    for number, (layer, (given, options)) in enumerate(zip(layers, taken, strict=True)):
        if (off := _layer_differs(decoder, number, layer, given, options, ids, position)) > _LAYER_AGREES:
            return None, f"its layer {number} makes something else in float32 (relative difference {off:.1e})"
    off = float((found - expected).abs().max() / expected.abs().max())
    if off > _AGREES.get(model.dtype, 0.0):
        return None, f"its logits differ by {off:.1e} of the largest"
    return decoder, ""


@contextmanager
def _inputs(model: PreTrainedModel) -> Iterator[list[tuple[tuple[Any, ...], dict[str, Any]]]]:
    """Within, what each layer of `model` is given, in order: positional arguments and options."""
    taken: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, given, options: taken.append((given, options)), with_kwargs=True)
        for layer in model.model.layers  # type: ignore[union-attr]
    ]
    try:
        yield taken
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def _layer_differs(
    decoder: Decoder,
    number: int,
    layer: nn.Module,
    given: tuple[Any, ...],
    options: dict[str, Any],
    ids: Tensor,
    position: Tensor,
) -> float:
    """How far apart both ways of one layer are, in float32, beside what the layer adds at most."""
    exact = copy.deepcopy(layer).float()
    x = given[0].float()
    heads = decoder._layers[number].heads
    lean, rotary = _layer(exact, heads), decoder._rotary
    stated = options.get("position_embeddings")
    if stated is not None and all(map(torch.equal, stated, rotary(given[0], position))):
        options = {**options, "position_embeddings": rotary(x, position)}
    kept = KeyValueCache(torch.ones_like(ids, dtype=torch.bool), [lean.window] * (number + 1))
    turn = decoder._turn(x[0], position[0])
    found = lean(number, x[0], turn, (1, ids.shape[1]), kept.attention)
    expected = exact(x, *_exact(given[1:]), **_exact(options))
    expected = expected[0] if isinstance(expected, tuple) else expected
    return float((found - expected[0]).abs().max() / (expected - x).abs().max().clamp_min(1e-30))


def _exact(value: Any) -> Any:
    """The same with tensors of floating point in float32."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, tuple):
        return tuple(_exact(part) for part in value)
    if isinstance(value, dict):
        return {key: _exact(part) for key, part in value.items()}
    return value
