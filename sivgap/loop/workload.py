"""How much work a run has still before it, for its time left: responses to sample and verify, prompts to train on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sivgap.config.members import asking
from sivgap.config.schema import SolverConfig, TrainConfig
from sivgap.core.problem import Problem
from sivgap.loop.schedule import Schedule

RESPONSES, VERDICTS, PROMPTS = "responses", "verdicts", "prompts"
"""Kinds of work of a run (`time_left.TimeLeft`). Verdicts are one where the pass that samples does not give them."""

READING = 0.2
"""Of the time in which a response is drawn, about what reading it again for a verdict takes."""


def verdict_cost(config: SolverConfig) -> float:
    """How long a verdict takes beside a response, about: until verdicts have been measured."""
    longest = config.sampling.max_new_tokens
    return sum(
        READING + (one.max_new_tokens * one.repetitions / longest if one.readout == "sampled" or one.heading else 0)
        for one in asking(config.verifier, config.dataset.name)
    )


@dataclass(frozen=True)
class Workload:
    """What the steps of a run cost.

    Attributes:
        samples: Responses to a prompt that is trained on.
        measured: Responses of a measurement.
        in_pass: Whether verdicts come with the responses.
        sampled_share: Share of the prompts trained on that are sampled for it (less than 1 with ``measure.reuse``).
    """

    schedule: Schedule
    samples: int
    measured: int
    in_pass: bool
    sampled_share: float = 1.0

    def to_come(self, half: int, measured: bool, labelled: bool) -> dict[str, float]:
        """Work from half epoch `half` on; whether it has been `measured`, and its prompts `labelled`, already."""
        schedule = self.schedule
        sizes = [schedule.size(h) for h in range(half, schedule.halves)]
        measurements = sum(schedule.measures(h) for h in range(half + measured, schedule.halves + 1))
        sampled = sum(sizes[labelled:]) * self.sampled_share
        responses = sampled * self.samples + measurements * self.measured
        return {RESPONSES: responses, PROMPTS: float(sum(sizes))} | ({} if self.in_pass else {VERDICTS: responses})


def workload(
    config: TrainConfig, schedule: Schedule, panels: Mapping[str, Sequence[Problem]], in_pass: bool
) -> Workload:
    """That of a run of `config` that measures `panels`."""
    measured = sum(map(len, panels.values())) * (config.measure.samples or config.n)
    reused = len(panels["train"]) / schedule.problems if config.measure.reuse else 0.0
    return Workload(schedule, config.n, measured, in_pass, 1 - reused)
