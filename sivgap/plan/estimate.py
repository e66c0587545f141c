"""From a configuration to what it will cost."""

from __future__ import annotations

import os
import time

from sivgap.config.schema import TrainConfig
from sivgap.hardware import describe_hardware, keep_freed_memory
from sivgap.models.shape import Shape, is_here, shape_of
from sivgap.plan.command import Plan
from sivgap.plan.hardware import NAMED, OF_FLOPS, Hardware, roofline, this_machine
from sivgap.plan.memory import Memory, memory
from sivgap.plan.problems import planned_problems
from sivgap.plan.rates import Rates, batch_rows, from_runs
from sivgap.plan.texts import CHARACTERS, Texts, about_responses, assumed, texts
from sivgap.plan.trial import on_the_spot
from sivgap.plan.work import Lengths, phases
from sivgap.tasks.load import Dataset
from sivgap.threads import settle_threads

ROOM = 0.8
"""Share of a device's memory up to which a model is loaded for a measurement."""


def estimate(config: TrainConfig, started: float) -> Plan:
    """The plan of `config`: of its work on its problems, at the best rates that can be had.

    Args:
        started: The clock (`time.perf_counter`) when loading began.

    Raises:
        RunError: If the problems are neither here nor known.
    """
    keep_freed_memory()
    settle_threads(config, {})
    dataset, stand_ins = planned_problems(config.dataset)
    loading = time.perf_counter() - started
    shape, found = shape_of(config.model), texts(config, dataset)
    named = NAMED.get(str(config.plan))
    device = named or this_machine()
    needs = _memory(config, dataset, shape, found, named)
    rates, lengths = _rates(config, dataset, shape, found, device, needs.peak, loading)
    about = about_responses(config, found, lengths)
    work = phases(config, dataset, shape, lengths, about)
    notes = [f"device: {device.name}; times: {rates.source}; lengths of responses: {lengths.source}"]
    if shape.assumed:
        notes.append(f"the model is not here: its dimensions are assumed from model.parameters={shape.parameters:g}")
    if not found.counted:
        notes.append(f"its tokenizer is not here: prompts are counted at {CHARACTERS} characters a token")
    if stand_ins:
        notes.append(f"dataset {config.dataset.name} is not here: its published number of problems is assumed")
    timed = [(phase, rates.seconds(phase)) for phase in work]
    return Plan(timed, rates.rest, {**needs.__dict__, "peak": needs.peak}, device.memory, notes)


def _rates(
    config: TrainConfig,
    dataset: Dataset,
    shape: Shape,
    found: Texts,
    device: Hardware,
    needed: float,
    loading: float,
) -> tuple[Rates, Lengths]:
    if config.plan is True:
        earlier = from_runs(config, dataset, found, describe_hardware(config.launch.processes))
        if earlier is not None:
            return earlier
    here = is_here(config.model) and found.counted
    if here and (needed < ROOM * _free()):
        rates, lengths = on_the_spot(config, dataset, found, loading)
        if config.plan is True:
            return rates, lengths
    else:
        lengths = assumed(config, found)
    return _by_figures(config, dataset, shape, found, lengths, device), lengths


def _by_figures(
    config: TrainConfig, dataset: Dataset, shape: Shape, found: Texts, lengths: Lengths, device: Hardware
) -> Rates:
    about = about_responses(config, found, lengths)
    rows, width = batch_rows(config, dataset), _width(config, config.plan is not True)
    wrote, verified = roofline(device, shape, lengths, about, width, rows, config.n)
    training = next(p for p in phases(config, dataset, shape, lengths, about) if p.name == "training")
    trained = training.flops / max(training.read, 1) / (OF_FLOPS * device.flops)
    sharing = config.launch.processes
    source = f"by figures of the hardware, {OF_FLOPS:.0%} of its FLOPs reached"
    return Rates(wrote / sharing, verified / sharing, trained / sharing, None, source)


def _memory(config: TrainConfig, dataset: Dataset, shape: Shape, found: Texts, named: Hardware | None) -> Memory:
    question = max(found.questions.values(), default=0)
    lengths = assumed(config, found)
    in_pass = about_responses(config, found, lengths).read <= question
    return memory(
        config, shape, _width(config, named is not None), batch_rows(config, dataset), found.longest, question, in_pass
    )


def _width(config: TrainConfig, gpu: bool) -> int:
    """Bytes of a weight."""
    import torch

    if config.model.dtype == "auto":
        return 2 if gpu or torch.cuda.is_available() else 4
    return 4 if config.model.dtype == "float32" else 2


def _free() -> float:
    """Bytes that the GPU, or the machine, has free."""
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.mem_get_info()[0])
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))
