"""Memory of one GPU, or of the process: what is always there, and the largest of what comes and goes."""

from __future__ import annotations

from dataclasses import dataclass

from sivgap.config.members import asking
from sivgap.config.schema import SolverConfig, TrainConfig
from sivgap.config.update import UpdateConfig
from sivgap.engines.budget import KEYS_AND_VALUES, OF_A_GPU, SCORES, SCORES_ELSEWHERE, rows_under_way, token_bytes
from sivgap.engines.draw import AT_ONCE, AT_ONCE_ELSEWHERE
from sivgap.engines.hf import KEPT
from sivgap.engines.prefill import IN_A_PASS, IN_A_PASS_ELSEWHERE
from sivgap.models.head import MOST_LOGITS, MOST_LOGITS_ELSEWHERE
from sivgap.models.prepacked_linear import MOST_COPIED, copies_here
from sivgap.models.shape import Shape
from sivgap.plan.team import part
from sivgap.runtime.hardware import MUCH
from sivgap.update.activations import OF_FREE, on_a_processor

PROCESS = 5.0e8
"""Bytes of a process that has loaded torch, transformers and sivgap; on a GPU's memory they do not count."""
A_TOKEN_OF_THE_VOCABULARY = 1400
"""Bytes that the tokenizer takes for each token it knows (152 and 262 thousand of them: 227 and 354 MB)."""
PAGE = 2.5e8
"""Bytes that tables, figures and page take in the end, when nothing is sampled any more."""
_TRAINED = 4
"""Bytes of what is trained, of its gradient, and of each of AdamW's two moments: all in float32."""
_AROUND_LOGITS = 14
"""Bytes of a logit that a token is drawn by, and of an attention score: itself, in float32, and functions of these."""


@dataclass(frozen=True)
class Machine:
    """What the memory is of: a processor, or a GPU of so many bytes; `copies`: whether weights are copied there."""

    gpu: float | None = None
    copies: bool = False

    @property
    def keys_and_values(self) -> float:
        return float(KEYS_AND_VALUES["cpu"]) if self.gpu is None else OF_A_GPU * self.gpu

    @property
    def in_a_pass(self) -> int:
        return IN_A_PASS["cpu"] if self.gpu is None else IN_A_PASS_ELSEWHERE

    @property
    def scores(self) -> int:
        return SCORES["cpu"] if self.gpu is None else SCORES_ELSEWHERE

    @property
    def drawn_at_once(self) -> int:
        return AT_ONCE["cpu"] if self.gpu is None else AT_ONCE_ELSEWHERE


def this_kind(gpu: float | None, named: bool) -> Machine:
    """This machine, or one with a GPU of `gpu` bytes."""
    return Machine(gpu, copies=gpu is None and not named and copies_here())


@dataclass(frozen=True)
class Longest:
    """Tokens of what is read and written at the longest.

    Attributes:
        prompt: The solver's.
        question: What a verifier's prompt adds to a response's cache.
        in_pass: Whether a verdict continues from the response; otherwise each is a prompt of its own.
        likelihoods: Whether verdicts are read off likelihoods.
    """

    prompt: float
    question: float
    in_pass: bool
    likelihoods: bool


@dataclass(frozen=True)
class Memory:
    """Bytes. What is for sampling alone is given up before training, and the other way round.

    Attributes:
        process: Python, libraries, tokenizer.
        engine: Weights that sample, with another judge's; of an engine that ranks share, this one's part.
        copies: The same weights in the layout in which they are multiplied fastest.
        learner: Weights in training, without what is trained where that is apart; a rank's part if sharded.
        trained: Trained parameters with gradients and moments, likewise.
        merged: Weights on their way from the learner to the engine, of sharded ones a tensor at a time; with
            ``refresh=never`` also those of the start.
        checkpoint: Copies of what is trained and its moments, on their way to a file.
        cache: Keys and values of the responses sampled at once, or of the verdicts read at once.
        logits: Of one step of them, and of drawing from it.
        reading: One layer's activations over prompts, or questions, that are read at once.
        freed: What a processor keeps of memory that sampling gave up, for what it takes next.
        activations: Of the texts that a training pass takes, the logits of these, and copies of the weights in half
            precision where all are trained in it.
    """

    process: float
    engine: float
    copies: float
    learner: float
    trained: float
    merged: float
    checkpoint: float
    cache: float
    logits: float
    reading: float
    freed: float
    activations: float

    @property
    def sampling(self) -> float:
        """Of the engine alone."""
        return self.engine + self.copies + self.cache + self.logits + self.reading + self.freed

    @property
    def peak(self) -> float:
        always = self.process + self.engine + self.learner + self.trained
        ends = self.engine + max(self.engine, PAGE)  # loading is reading a file and copying it
        ends = self.process + ends if self.process else 0.0
        return max(ends, always + max(self.sampling - self.engine, self.merged, self.checkpoint, self.activations))


def memory(config: SolverConfig, shape: Shape, width: int, rows: int, asked: Longest, machine: Machine) -> Memory:
    """Bytes that `config` needs with weights of `width` bytes; `rows` responses are sampled at once."""
    own = part(shape, config.engine.tensor_parallel)
    judge = 0.0 if config.verifier.model.path is None else shape.parameters  # another one counts as large as the solver
    weights = own.parameters * width
    copies = machine.copies and shape.lean and weights <= MOST_COPIED
    on_processor = machine.gpu is None
    sampling = {
        "process": PROCESS + A_TOKEN_OF_THE_VOCABULARY * shape.vocabulary if on_processor else 0.0,
        "engine": weights + judge * width,
        "copies": (weights + judge * width) if copies else 0.0,
        "cache": _cache(config, own, width, rows, asked, machine),
        "logits": rows * shape.vocabulary * 4 * width
        + min(rows * shape.vocabulary, machine.drawn_at_once) * _AROUND_LOGITS,
        "reading": _reading(config, shape if judge else own, width, rows, asked, machine),
    }
    comes_and_goes = sampling["cache"] + sampling["logits"] + sampling["reading"]
    sampling["freed"] = min(MUCH, comes_and_goes) if on_processor else 0.0
    nothing = dict.fromkeys(("learner", "trained", "merged", "checkpoint", "activations"), 0.0)
    if not isinstance(config, TrainConfig):
        return Memory(**sampling, **nothing)
    return Memory(**sampling, **_training(config, shape, width, asked.prompt, machine, sampling["engine"]))


def _training(
    config: TrainConfig, shape: Shape, width: int, prompt: float, machine: Machine, engine: float
) -> dict[str, float]:
    update, targets = config.update, shape.targets(config.model.lora_targets)
    full = update.parameters == "full"
    shares = config.launch.processes if config.launch.shard else 1
    trained = (shape.parameters if full else adapters(config, shape)) / shares
    adapted = shape.layers * sum(
        i * o for i, o in targets
    )  # the learner has the other weights in common with the engine
    learner = 0 if full else (adapted if shares == 1 else shape.parameters / shares) * width
    merged = (shape.parameters if full else adapted) * width
    merged *= (config.launch.shard is False and not full) + (config.refresh == "never")
    free = None if machine.gpu is None else max(0.0, machine.gpu - engine - learner - 4 * _TRAINED * trained)
    return {
        "learner": learner,
        "trained": 4 * _TRAINED * trained,
        "merged": merged,
        "checkpoint": 3 * _TRAINED * trained if machine.gpu is None else 0.0,
        "activations": _activations(config, shape, width, prompt + config.sampling.max_new_tokens, free),
    }


def adapters(config: TrainConfig, shape: Shape) -> int:
    """Parameters of the adapters: rank times inputs and outputs of each target."""
    return shape.layers * config.update.lora_rank * sum(i + o for i, o in shape.targets(config.model.lora_targets))


def cache_bytes(shape: Shape, width: int, places: float) -> float:
    """Keys and values of `places` tokens."""
    return places * token_bytes(shape, width)


def _cache(config: SolverConfig, shape: Shape, width: int, rows: int, asked: Longest, machine: Machine) -> float:
    """At most: of the responses with what is put behind them and their prompts, which they share; or of conversations
    that a verifier is asked about, one by one."""
    answer = config.verifier.max_new_tokens
    written = config.sampling.max_new_tokens + (answer + asked.question if asked.in_pass else 0)
    responses = cache_bytes(shape, width, rows * (written + asked.prompt / config.n))
    if asked.in_pass or not asking(config.verifier, config.dataset.name):
        return responses
    conversation = asked.prompt + config.sampling.max_new_tokens + asked.question
    if asked.likelihoods:
        judged = min(
            KEPT * token_bytes(shape, width), config.engine.batch_size * cache_bytes(shape, width, conversation)
        )
        return max(responses, min(judged, machine.keys_and_values))
    each = token_bytes(shape, width)
    several = rows_under_way(config.engine.batch_size, 1, conversation + answer, each, machine.keys_and_values)
    return max(responses, several * (conversation + answer) * each)


def _reading(config: SolverConfig, shape: Shape, width: int, rows: int, asked: Longest, machine: Machine) -> float:
    """Of a piece of what is read: the widest that a layer makes of it, and the scores of its attention."""
    conversation = asked.prompt + config.sampling.max_new_tokens + asked.question
    read = rows * asked.question if asked.in_pass else rows * conversation
    tokens = min(machine.in_a_pass, max(read, rows / config.n * asked.prompt))
    widest = 4 * shape.inner + 4 * shape.hidden + 2 * (shape.queries + 2 * shape.keys)
    scores = min(machine.scores, tokens * conversation * shape.queries / shape.head)
    return tokens * widest * width + scores * _AROUND_LOGITS


def _activations(config: TrainConfig, shape: Shape, width: int, longest: float, free: float | None) -> float:
    """What the backward pass reads again of as many texts as there is room for; `free`: bytes of a GPU."""
    update = config.update
    texts = (update.micro_batch_size or update.batch_size) * (2 if update.name == "rpo" else 1)
    layer = activation_bytes(config.update, shape, config.model.lora_targets, width)
    kept, again = shape.layers * layer, shape.layers * shape.hidden * width
    copied = shape.parameters * width if update.parameters == "full" and width == 2 else 0.0  # by autocast
    room = None if free is None else max(0.0, OF_FREE * free - copied)
    most = on_a_processor(kept, longest) if room is None else room / kept
    if update.checkpointing or (update.checkpointing is None and most < longest):
        most = on_a_processor(again, longest) if room is None else room / again
        kept = again + layer
    tokens = min(texts * longest, max(most, longest))
    at_once = MOST_LOGITS["cpu"] if free is None else MOST_LOGITS_ELSEWHERE
    logits = min(texts * config.sampling.max_new_tokens * shape.vocabulary, at_once) * (2 * width + 4 * 4)
    return tokens * kept + logits + copied


def activation_bytes(update: UpdateConfig, shape: Shape, targets: list[str], width: int) -> float:
    """What a layer keeps of a token for its backward pass: inputs of its modules, of norms in float32; each adapter's
    own in float32, and with dropout its mask and what is left."""
    norms = 4 * shape.hidden if width == 2 else 2 * shape.hidden
    kept = (3 * shape.inner + norms + 3 * shape.queries + 5 * shape.keys) * width
    if update.parameters == "full":
        return kept + 2 * shape.hidden * width
    inputs = 4 * sum(i for i, _ in shape.targets(targets))
    return kept + (2 if update.lora_dropout else 1) * inputs
