"""What a trial showed, as numbers, and a sentence for each thing that is wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig

from sivgap.config.embedded import located
from sivgap.config.preflight import PreflightConfig
from sivgap.gap.beware import Measured, beware, run_settings_of
from sivgap.gap.distribution import score_histogram
from sivgap.gap.selection import Selection
from sivgap.loop.components import Components
from sivgap.loop.measurement import Panel, seen_in
from sivgap.models.load import context_length
from sivgap.plan.work import panels
from sivgap.preflight.conversation import Conversation
from sivgap.preflight.cost import Cost, cost
from sivgap.preflight.trial import Trial

BINS = 10
"""Of the histogram of scores: the grades that most verifiers give."""


@dataclass(frozen=True)
class Findings:
    """All that `preflight` says.

    Attributes:
        name: Model, dataset and verifier.
        wanted: Problems that were asked for; `measured.prompts` were tried.
        measured: Accuracy, verdicts and the rest of them.
        solved: Share of the problems with a right response.
        length90: Tokens below which nine in ten responses stay.
        longest: `sampling.max_new_tokens`.
        selection: The rule by which responses pass, in words.
        histogram: Of the scores that could be read: edges low and high, how many right and wrong responses between.
        ends: How often each token, or text, ended a response.
        taught: The token that training teaches as an end of responses without one of their own.
        context: Tokens that the model reads at once (None: it does not say), and tokens that the longest prompt needs
            with its response.
        dtype: Precision that the weights are loaded in, and that they are stored in.
        cost: Of the whole run.
        conversations: As sent and answered.
        sentences: What is wrong, and what to change.
        seconds: Of this preflight.
    """

    name: str
    wanted: int
    measured: Measured
    solved: float
    length90: float
    longest: int
    selection: str
    histogram: list[dict[str, float]]
    ends: dict[str, int]
    taught: str
    context: tuple[int | None, int]
    dtype: tuple[str, str | None]
    cost: Cost
    conversations: list[Conversation]
    sentences: list[str]
    seconds: float

    def record(self) -> dict[str, Any]:
        """As ``preflight.json`` has it."""
        plain: dict[str, Any] = dict(vars(self))
        plain["measured"] = asdict(self.measured)
        plain["cost"] = {**asdict(self.cost), "hours": self.cost.hours}
        plain["conversations"] = [asdict(each) for each in self.conversations]
        return plain


def findings(components: Components, config: PreflightConfig, trial: Trial, started: float) -> Findings:
    """Of `trial`, begun at `started` on `perf_counter`."""
    panel, rollouts = trial.panel, trial.panel.rollouts
    selection = Selection.of(config.selection)
    seen = seen_in(panel, selection)
    measured_prompts = dict(panels(config, components.dataset))["test"]
    spent, needs = cost(components, config, trial), _longest(components)
    dtype = str(components.loaded.model.dtype).removeprefix("torch."), _stored(config)
    said = [
        *beware(seen, run_settings_of(config.model_dump(mode="json"), selection, measured_prompts)),
        *_of_machine(spent, dtype),
    ]
    return Findings(
        name=f"{config.model.label} on {config.dataset.name}, {config.verifier.name}",
        wanted=trial.wanted,
        measured=seen,
        solved=float(panel.correct.any(axis=1).mean()),
        length90=float(np.quantile(rollouts.length, 0.9)),
        longest=config.sampling.max_new_tokens,
        selection=selection.name,
        histogram=_histogram(panel),
        ends=_ends(components, trial),
        taught=components.writer.as_sent([components.loaded.end_tokens[0]]),
        context=(context_length(components.loaded.model), needs + config.sampling.max_new_tokens),
        dtype=dtype,
        cost=spent,
        conversations=list(trial.conversations),
        sentences=said,
        seconds=time.perf_counter() - started,
    )


def _histogram(panel: Panel) -> list[dict[str, float]]:
    read = panel.scores.unparsed < 1
    table = score_histogram(panel.scores.values[read], panel.correct[read], BINS)[["low", "high", "right", "wrong"]]
    return [{str(name): float(value) for name, value in row.items()} for row in table.to_dict("records")]


def _ends(components: Components, trial: Trial) -> dict[str, int]:
    rollouts = trial.panel.rollouts
    counted = Counter(
        components.writer.as_sent(row[len(row) - end :]) if end else "cut off"
        for row, end in zip(rollouts.tokens, rollouts.ending.ravel(), strict=True)
    )
    return dict(counted.most_common())


def _longest(components: Components) -> int:
    return max(
        len(components.writer.solve(problem).tokens)
        for problem in [*components.dataset.train, *components.dataset.test]
    )


def _stored(config: PreflightConfig) -> str | None:
    """Precision of the weights on disk, where their configuration says."""
    try:
        found = AutoConfig.from_pretrained(
            located(config.model.path or config.model.name), trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError, KeyError):
        return None
    dtype = getattr(found, "dtype", None)
    return None if dtype is None else str(dtype).removeprefix("torch.")


def _of_machine(spent: Cost, dtype: tuple[str, str | None]) -> Iterator[str]:
    if dtype[0] == "float32" and dtype[1] in ("bfloat16", "float16"):
        yield (
            f"the weights are stored in {dtype[1]} and loaded in float32, which takes twice the memory; set "
            f"model.dtype={dtype[1]}"
        )
    if spent.memory > spent.room:
        yield (
            f"the run needs about {spent.memory / 2**30:.1f} GiB of memory, the device has "
            f"{spent.room / 2**30:.1f}; lower engine.batch_size or update.micro_batch_size, or set "
            "update.checkpointing=true"
        )
    if not torch.cuda.is_available() and spent.hours > _LONG:
        yield (
            f"the run will take about {spent.hours:.0f} h on this processor; lower epochs, prompts_per_epoch, n or "
            "measure.test_prompts, or take a GPU"
        )


_LONG = 24.0
"""Hours from which on a run on a processor is worth a word."""
