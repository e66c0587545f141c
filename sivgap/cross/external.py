"""External data in a run: which training prompts have an external response from which epoch on (SV Sec. 5).

The prompts form one seeded order that depends on neither strategy nor budget, so the sets are nested: what a small
budget chooses a larger one chooses too, and early, uniform and late of one seed end with the same prompts. A prompt
once given a response keeps it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sivgap.config.allocation import planned
from sivgap.config.schema import TrainConfig
from sivgap.core.problem import Problem
from sivgap.errors import ConfigError
from sivgap.runtime.rng import derive_key


@dataclass(frozen=True)
class Response:
    """An external response: its text, and whether it ended by itself (or was cut off)."""

    text: str
    finished: bool = True


@dataclass(frozen=True)
class Timetable:
    """When each chosen problem is given its response: problem id to epoch (0 is the first), of `prompts` problems."""

    arrival: dict[str, int]
    prompts: int

    def given(self, epoch: float) -> set[str]:
        """Problems whose responses had come when `epoch` epochs were done; those of the epoch that begins had not."""
        return {name for name, when in self.arrival.items() if when < epoch}

    def share(self, epoch: float) -> float:
        """H so far: the share of prompts with a response when `epoch` epochs were done."""
        return len(self.given(epoch)) / self.prompts


def make_timetable(config: TrainConfig, problems: Sequence[Problem]) -> Timetable:
    """The timetable of `config` over the training `problems`.

    Raises:
        ConfigError: If the budget asks for more prompts than there are.
    """
    plan = planned(config.cross, config.epochs)
    if not plan:
        return Timetable({}, len(problems))
    unit = len(problems) if config.cross.budget <= 1 else 1
    ends = np.round(np.cumsum(plan) * unit).astype(int)
    total = int(ends[-1])
    if total > len(problems):
        raise ConfigError(f"cross.budget: {config.cross.budget:g} prompts, but the training set has {len(problems)}")
    if total == 0:
        raise ConfigError(f"cross.budget: {config.cross.budget:g} of {len(problems)} prompts is not one prompt")
    order = np.random.default_rng(derive_key(config.seed, "external")).permutation(len(problems))
    arrival: dict[str, int] = {}
    for epoch, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        arrival |= {problems[i].id: epoch for i in order[start:end]}
    return Timetable(arrival, len(problems))
