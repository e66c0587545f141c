"""Which prompts an epoch trains on, and when measurements are taken. Time is counted in half epochs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sivgap.config.schema import TrainConfig
from sivgap.errors import RunError
from sivgap.runtime.rng import derive_key


@dataclass(frozen=True)
class Schedule:
    """The timetable of a run over `problems` training problems."""

    problems: int
    prompts_per_epoch: int
    halves: int
    halves_per_measurement: int
    seed: int

    def prompts(self, half: int) -> list[int]:
        """Indices of the training problems of one half epoch.

        Epochs walk through one endless sequence of shuffled passes over the training problems.
        """
        epoch, second = divmod(half, 2)
        start = epoch * self.prompts_per_epoch + second * (self.prompts_per_epoch // 2)
        end = (epoch + 1) * self.prompts_per_epoch if second else start + self.prompts_per_epoch // 2
        passes = {place // self.problems for place in range(start, end)}
        orders = {
            n: np.random.default_rng(derive_key(self.seed, "order", n)).permutation(self.problems) for n in passes
        }
        return [int(orders[place // self.problems][place % self.problems]) for place in range(start, end)]

    def size(self, half: int) -> int:
        """How many prompts half epoch `half` has."""
        first = self.prompts_per_epoch // 2
        return self.prompts_per_epoch - first if half % 2 else first

    def measures(self, half: int) -> bool:
        """Whether a measurement is due when `half` half epochs are done; the last one always is."""
        return half % self.halves_per_measurement == 0 or half == self.halves


def make_schedule(config: TrainConfig, problems: int) -> Schedule:
    """The timetable of `config`.

    Raises:
        RunError: If there are fewer problems than an epoch asks for.
    """
    per_epoch = config.prompts_per_epoch or problems
    if per_epoch > problems or per_epoch < 2:
        raise RunError(
            f"prompts_per_epoch={per_epoch}: the training set has {problems} problems; an epoch needs 2 to that many"
        )
    return Schedule(problems, per_epoch, round(config.epochs * 2), round(config.measure.every * 2), config.seed)
