"""How fast a processor computes a model, by a few layers of its dimensions with arbitrary weights; none is loaded.

One layer, then three: what two more take is a layer's time, and the rest that of the head and of drawing. The code is
that of a run (`engines.model_pass`, `engines.draw`, `update.sft`), with the numbers of rows and places that it has.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from sivgap.config.schema import SolverConfig, TrainConfig
from sivgap.core.example import Example
from sivgap.engines.draw import draw
from sivgap.engines.model_pass import ModelPass
from sivgap.engines.prefix_cache import PrefixCache
from sivgap.models.source import find_source
from sivgap.plan.work import Lengths
from sivgap.update.sft import Sft

_LAYERS = 1, 3
_READ = 1024
_TRAINED_ON = 192
"""Tokens of one pass that reads, and of one that trains; from a hundred rows on a token costs the same."""
_FEWER = 8
"""Times fewer rows, to tell what a step costs whatever its rows."""
_ENOUGH = 0.4
"""Seconds of repeating one measurement; the least counts, since other programs only add to it."""
_WEIGHT = 0.01


@dataclass(frozen=True)
class Pace:
    """Seconds of the whole model: `step` of a pass that draws, however few its rows, `row` of each of them, `token` of
    one that is read, and `trained` of one that is trained on (None: nothing is)."""

    step: float
    row: float
    token: float
    trained: float | None

    def read(self, tokens: float, context: float, passes: float) -> float:
        """As `roofline.Sampler` has it."""
        return tokens * self.token

    def write(self, tokens: float, context: float, passes: float) -> float:
        return passes * self.step + tokens * self.row


@dataclass(frozen=True)
class Spent:
    """Seconds of one model: a step of many rows, one of few, a token read, a token trained on."""

    many: float
    few: float
    token: float
    trained: float


def pace(config: SolverConfig, layers: int, lengths: Lengths, rows: int, dtype: torch.dtype) -> Pace:
    """That of the model of `config`, which has `layers` layers.

    Args:
        lengths: Of prompts and responses: as many places are attended to on average.
        rows: Responses under way.
    """
    one, three = (_spent(config, _few_layers(config, count, dtype), lengths, rows) for count in _LAYERS)

    def whole(first: float, more: float) -> float:
        layer = max(0.0, more - first) / (_LAYERS[1] - _LAYERS[0])
        return max(0.0, first - layer) + layers * layer

    many, few = whole(one.many, three.many), whole(one.few, three.few)
    fewer = max(1, rows // _FEWER)
    row = max(0.0, many - few) / max(1, rows - fewer)
    trained = whole(one.trained, three.trained) if isinstance(config, TrainConfig) else None
    return Pace(max(0.0, many - rows * row), row, whole(one.token, three.token), trained)


def _few_layers(config: SolverConfig, count: int, dtype: torch.dtype) -> PreTrainedModel:
    source = find_source(config.model.path or config.model.name, config.model.revision, online=False)
    settings = copy.deepcopy(
        AutoConfig.from_pretrained(source.path, trust_remote_code=False, local_files_only=True, **source.options)
    ).get_text_config()
    settings.num_hidden_layers = count
    if getattr(settings, "layer_types", None):
        settings.layer_types = settings.layer_types[:count]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(settings, dtype=dtype)
    model = model.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.fill_(_WEIGHT)
    model.tie_weights()
    return model.eval().requires_grad_(False)  # type: ignore[no-any-return]


def _spent(config: SolverConfig, model: PreTrainedModel, lengths: Lengths, rows: int) -> Spent:
    trained = _training(config, model, lengths) if isinstance(config, TrainConfig) else 0.0
    with torch.inference_mode():
        run = ModelPass(model, range(1, 33))
        prompt, count = max(2, round(lengths.prompt)), max(1, rows // config.n)
        count = min(count, max(1, _READ // prompt))
        ids = torch.ones((count, prompt), dtype=torch.long)
        mask = torch.ones_like(ids, dtype=torch.bool)
        _, states = run.read(ids, mask)
        token = _least(lambda: run.read(ids, mask)) / ids.numel()

        def step(many: int) -> float:
            of = torch.arange(many) // config.n % count
            behind = max(1, round(lengths.response / 2))
            cache = PrefixCache(list(states), mask, many, behind + 1, run.windows, of.sort().values)
            cache.filled[:] = behind
            depth, each, uniform = torch.zeros(1, dtype=torch.long), torch.arange(many), torch.rand(many).double()
            fed = torch.ones((many, 1), dtype=torch.long)
            settings = config.sampling

            def once() -> None:
                logits = run.feed(fed, cache, depth)[:, 0]
                draw(logits, each, uniform, settings.solver_temperature, settings.top_p)

            return _least(once)

        return Spent(step(rows), step(max(1, rows // _FEWER)), token, trained)


def _training(config: TrainConfig, model: PreTrainedModel, lengths: Lengths) -> float:
    """Seconds a token of a step on one text whose response has its usual share of it."""
    whole = lengths.prompt + lengths.response
    tokens = max(3, min(_TRAINED_ON, round(whole)))
    response = max(1, min(tokens - 1, round(tokens * lengths.response / whole)))
    example = Example((1,) * (tokens - response), (1,) * response, "")
    learner = Sft(model, config.model, config.update, config.seed)
    learner.step([Example((1, 1), (1,), "")], 0)  # memory and products of a kind begin slowly
    started = time.perf_counter()
    learner.step([example], 1)
    return (time.perf_counter() - started) / tokens


def _least(work: Callable[[], object]) -> float:
    found: list[float] = []
    while not found or sum(found) < _ENOUGH:
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return min(found)
