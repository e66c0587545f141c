"""What the whole run takes: hours by its schedule and the rates of a trial, memory as `sivgap.plan` predicts it."""

from __future__ import annotations

import os
import resource
import sys
from dataclasses import dataclass

import torch

from sivgap.config.preflight import PreflightConfig
from sivgap.loop.components import Components
from sivgap.models.shape import shape_of
from sivgap.plan.estimate import needed_memory
from sivgap.plan.rates import Rates, engines
from sivgap.plan.texts import about_responses, texts
from sivgap.plan.work import Lengths, measurements, panels, phases
from sivgap.preflight.trial import Trial


@dataclass(frozen=True)
class Cost:
    """Of the whole run.

    Attributes:
        seconds: By phase.
        complete: Whether training is among them; there may have been no time to try it.
        rates: Tokens a second sampled, verdicts a second, and tokens a second trained on (None: not tried).
        memory: Bytes at the peak that the plan predicts for a device.
        room: Bytes that the device has.
        so_far: Peak of this process until now, bytes.
        gpu: Peak allocated on the GPU until now; None without one.
    """

    seconds: dict[str, float]
    complete: bool
    rates: dict[str, float | None]
    memory: float
    room: float
    so_far: float
    gpu: float | None

    @property
    def hours(self) -> float:
        return sum(self.seconds.values()) / 3600


def cost(components: Components, config: PreflightConfig, trial: Trial) -> Cost:
    """As `plan=true` counts the work, at the speed of the trial's small batches: larger ones are faster."""
    rollouts, samples = trial.panel.rollouts, config.measure.samples or config.n
    responses, tokens = rollouts.length.size, int(rollouts.length.sum())
    found, shape = texts(config, components.dataset), shape_of(config.model)
    verdict = max(0.0, (rollouts.generated - tokens) / responses)
    each = tuple(map(int, rollouts.length.ravel()))
    lengths = Lengths(found.prompt, tokens / responses, 0, verdict, trial.examples, "a trial", each)
    sharing = config.launch.processes
    graded = (
        samples * measurements(config, components.dataset) * sum(size for _, size in panels(config, components.dataset))
    )
    rates = Rates(
        rollouts.seconds_generate / tokens / engines(config),
        rollouts.seconds_verify / responses / sharing,
        (trial.train or 0.0) / sharing,
        trial.loading + graded * trial.grading,
        "a trial",
    )
    work = phases(config, components.dataset, shape, lengths, about_responses(config, found, lengths))
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    return Cost(
        seconds={
            **{phase.name: rates.seconds(phase) for phase in work},
            "loading, grading, writing": float(rates.rest or 0.0),
        },
        complete=trial.train is not None,
        rates={
            "sampled tokens/s": tokens / max(rollouts.seconds_generate, 1e-9),
            "verdicts/s": responses / rollouts.seconds_verify if rollouts.seconds_verify else None,
            "trained tokens/s": 1 / trial.train if trial.train else None,
        },
        memory=needed_memory(config, components.dataset, shape, found, None).peak,
        room=_room(),
        so_far=peak_memory(),
        gpu=gpu,
    )


def _room() -> float:
    if torch.cuda.is_available():
        return float(torch.cuda.get_device_properties(0).total_memory)
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def peak_memory() -> float:
    """Most bytes that this process has held; the system counts KiB, macOS bytes."""
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(held) * (1 if sys.platform == "darwin" else 1024)
