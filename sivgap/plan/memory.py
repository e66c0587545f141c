"""Memory of one GPU, or of the process: what is always there, and the largest of what comes and goes."""

from __future__ import annotations

from dataclasses import dataclass

from sivgap.config.schema import TrainConfig
from sivgap.models.head import MOST_LOGITS
from sivgap.models.shape import Shape
from sivgap.plan.team import part

_TRAINED = 4
"""Bytes of what is trained, of its gradient, and of each of AdamW's two moments: all in float32."""


@dataclass(frozen=True)
class Memory:
    """Bytes. The cache lives while sampling, activations while training, never both.

    Attributes:
        engine: Weights that sample, with another judge's; of an engine that ranks share, this one's part.
        learner: Weights in training, without what is trained where that is apart; a rank's part if sharded.
        trained: Trained parameters with gradients and moments, likewise.
        merged: Weights on their way from the learner to the engine, of sharded ones a tensor at a time; with
            ``refresh=never`` also those of the start.
        cache: Keys and values of the responses sampled at once, likewise, and the logits of one step of them.
        reading: One layer's activations over the prompts, or the judge's questions, that are read at once.
        activations: Of a micro-batch of the longest texts.
    """

    engine: float
    learner: float
    trained: float
    merged: float
    cache: float
    reading: float
    activations: float

    @property
    def sampling(self) -> float:
        """Of the engine alone."""
        return self.engine + self.cache + self.reading

    @property
    def peak(self) -> float:
        return self.engine + self.learner + self.trained + max(self.merged, self.cache + self.reading, self.activations)


def memory(
    config: TrainConfig, shape: Shape, width: int, rows: int, longest_prompt: float, question: float, in_pass: bool
) -> Memory:
    """Bytes that `config` needs with weights of `width` bytes.

    Args:
        rows: Responses sampled at once.
        longest_prompt: Tokens.
        question: Tokens that a verifier's question adds to a response's cache.
        in_pass: Whether a verdict continues from the response; otherwise each is a prompt of its own.
    """
    own = part(shape, config.engine.tensor_parallel)
    judge = 0.0 if config.verifier.model.path is None else shape.parameters  # another one counts as large as the solver
    update, targets = config.update, shape.targets(config.model.lora_targets)
    full = update.parameters == "full"
    merged = 0 if full else shape.layers * sum(i * o for i, o in targets) * width
    asked = longest_prompt + config.sampling.max_new_tokens + question
    shares = config.launch.processes if config.launch.shard else 1
    read_at_once = rows / config.n * longest_prompt if in_pass else rows * asked
    return Memory(
        engine=(own.parameters + judge) * width,
        learner=0 if full else shape.parameters * width / shares,
        trained=4 * _TRAINED * (shape.parameters if full else adapters(config, shape)) / shares,
        merged=merged * ((config.launch.shard is False) + (config.refresh == "never")),
        cache=_cache(config, own, width, rows, longest_prompt + question),
        reading=read_at_once * (3 * (shape if judge else own).inner + 2 * shape.hidden) * width,
        activations=_activations(config, shape, width, longest_prompt),
    )


def adapters(config: TrainConfig, shape: Shape) -> int:
    """Parameters of the adapters: rank times inputs and outputs of each target."""
    return shape.layers * config.update.lora_rank * sum(i + o for i, o in shape.targets(config.model.lora_targets))


def cache_bytes(shape: Shape, width: int, places: float) -> float:
    """Keys and values of `places` tokens."""
    return places * 2 * shape.layers * shape.keys * width


def _cache(config: TrainConfig, shape: Shape, width: int, rows: int, read: float) -> float:
    """At most: `read` tokens are the verifier's question, and the prompt, which responses share."""
    written = config.sampling.max_new_tokens + config.verifier.max_new_tokens
    # Logits as they come, then in float32: raw, log-likelihoods, probabilities; their sums in float64.
    logits = rows * shape.vocabulary * (width + 3 * 4 + 8)
    return cache_bytes(shape, width, rows * (written + read)) + logits


def _activations(config: TrainConfig, shape: Shape, width: int, longest_prompt: float) -> float:
    """What the backward pass reads again: inputs of every module, of the adapters in float32; of all layers, or with
    `update.checkpointing` of one, and of the others what goes in. Logits: of the responses that have them at once."""
    rows = config.update.micro_batch_size or config.update.batch_size
    texts = rows * (2 if config.update.name == "rpo" else 1)
    lora = config.update.parameters == "lora"
    kept = 6 * shape.hidden + 2 * shape.queries + 2 * shape.keys + 4 * shape.inner
    inputs = 4 * sum(i for i, _ in shape.targets(config.model.lora_targets)) if lora else 0
    layer = kept * width + inputs
    layers = layer + shape.layers * shape.hidden * width if config.update.checkpointing else shape.layers * layer
    logits = min(texts * config.sampling.max_new_tokens * shape.vocabulary, MOST_LOGITS) * (width + 3 * 4)
    return texts * (longest_prompt + config.sampling.max_new_tokens) * layers + logits
