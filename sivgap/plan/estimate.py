"""From a configuration to what it will cost."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from sivgap.config.schema import SolverConfig, TrainConfig
from sivgap.engines.hf import TURN
from sivgap.engines.threads import settle_threads
from sivgap.models.shape import Shape, is_here, shape_of
from sivgap.parallel.group import Group
from sivgap.plan.command import Plan
from sivgap.plan.hardware import NAMED, OF_FLOPS, Hardware, this_machine
from sivgap.plan.layers import pace
from sivgap.plan.memory import Longest, Memory, memory, this_kind
from sivgap.plan.passes import a_batch
from sivgap.plan.problems import planned_problems
from sivgap.plan.rates import Rates, batch_rows, engines, from_runs, panel_rows, rows_at_once
from sivgap.plan.roofline import Reads, Sampler, roofline
from sivgap.plan.team import shared
from sivgap.plan.texts import CHARACTERS, Texts, about_responses, assumed, seen, texts
from sivgap.plan.trial import by_itself, on_the_spot
from sivgap.plan.work import Lengths, phases
from sivgap.runtime.hardware import describe_hardware, keep_freed_memory
from sivgap.tasks.load import Dataset

QUICK = 1e12
"""FLOPs of a batch of responses up to which a model is loaded and tried: seconds, on a processor."""
ROOM = 0.8
"""Share of a device's memory up to which a model is loaded for that."""
LOADED = 5e8
"""Bytes of weights read a second, about."""
READY = 6.0
"""Seconds of a real model's tokenizer, of the proof of its pass, and of tables and page in the end."""


def estimate(config: SolverConfig, started: float, say: Callable[[str], None] = lambda _: None) -> Plan:
    """The plan of `config`: of its work on its problems, at the best rates that can be had.

    Args:
        started: The clock (`time.perf_counter`) when loading began.
        say: Told what is being done.

    Raises:
        RunError: If the problems are neither here nor known.
    """
    keep_freed_memory()
    settle_threads(config, {}, Group(here=config.launch.processes))
    dataset, stand_ins = planned_problems(config.dataset)
    shape, found = shape_of(config.model), texts(config, dataset)
    loading = time.perf_counter() - started
    named = NAMED.get(str(config.plan))
    device = named or this_machine()
    needs = needed_memory(config, dataset, shape, found, named)
    rates, lengths = _rates(config, dataset, shape, found, device, loading, say)
    about = about_responses(config, found, lengths)
    work = phases(config, dataset, shape, lengths, about)
    notes = [f"device: {device.name}; times: {rates.source}; lengths of responses: {lengths.source}"]
    if shape.assumed:
        notes.append(f"the model is not here: its dimensions are assumed from model.parameters={shape.parameters:g}")
    if not found.counted:
        notes.append(f"its tokenizer is not here: prompts are counted at {CHARACTERS} characters a token")
    if stand_ins:
        notes.append(f"dataset {config.dataset.name} is not here: its published number of problems is assumed")
    if config.engine.name == "vllm" and (named or _gpu()):
        notes += _share(config, needs, device)
    timed = [(phase, rates.seconds(phase)) for phase in work]
    return Plan(timed, rates.rest, {**needs.__dict__, "peak": needs.peak}, device.memory, notes)


def _rates(
    config: SolverConfig,
    dataset: Dataset,
    shape: Shape,
    found: Texts,
    device: Hardware,
    loading: float,
    say: Callable[[str], None],
) -> tuple[Rates, Lengths]:
    if config.plan is True and isinstance(config, TrainConfig):
        earlier = from_runs(config, dataset, found, describe_hardware(config.launch.processes))
        if earlier is not None:
            return earlier
    lengths = seen(config, found) or assumed(config, found)
    if found.counted and is_here(config.model) and _is_quick(config, dataset, shape, found, lengths):
        say("trying the model on a few problems")
        rates, lengths = on_the_spot(config, dataset, found, loading)
        if config.plan is True:
            return _of_teams(rates, config, dataset, shape, found, lengths, device), lengths
    elif config.plan is True and not _gpu() and not shape.assumed and config.engine.tensor_parallel == 1:
        say("timing a few layers of the model's size")
        return _by_layers(config, dataset, shape, found, lengths, loading), lengths
    return _by_figures(config, dataset, shape, found, lengths, device), lengths


def _is_quick(config: SolverConfig, dataset: Dataset, shape: Shape, found: Texts, lengths: Lengths) -> bool:
    """Whether the model can be tried in a few seconds, and there is room for it."""
    flops = shape.forward(batch_rows(config, dataset) * lengths.response, lengths.prompt + lengths.response / 2)
    return flops < QUICK and needed_memory(by_itself(config), dataset, shape, found, None).peak < ROOM * _free()


def _by_layers(
    config: SolverConfig, dataset: Dataset, shape: Shape, found: Texts, lengths: Lengths, loading: float
) -> Rates:
    width = _width(config, False)
    rows = rows_at_once(config, dataset, shape, width, _longest(config, found), this_kind(None, False))
    dtype = {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(config.model.dtype, torch.float32)
    whole = pace(config, shape.layers, lengths, rows, dtype)
    wrote, verified = _an_engine(config, dataset, found, lengths, whole, whole, rows)
    processes, sampling = config.launch.processes, engines(config)
    judging = sampling if config.verifier.model.path is None else processes
    rest = loading + READY + shape.parameters * width / LOADED
    source = f"layers of its size timed now, {torch.get_num_threads()} threads"
    return Rates(wrote / sampling, verified / judging, (whole.trained or 0.0) / processes, rest, source)


def _by_figures(
    config: SolverConfig, dataset: Dataset, shape: Shape, found: Texts, lengths: Lengths, device: Hardware
) -> Rates:
    gpu = config.plan is not True or _gpu()
    judge = Sampler(device, shape, _width(config, gpu))
    solver = replace(judge, team=config.engine.tensor_parallel)
    if config.engine.name == "vllm" and gpu:
        solver = replace(solver, a_layer=0.0)
    wrote, verified = _an_engine(config, dataset, found, lengths, solver, judge, batch_rows(config, dataset))
    about = about_responses(config, found, lengths)
    training = [p for p in phases(config, dataset, shape, lengths, about) if p.name == "training"]
    trained = sum(p.flops / max(p.read, 1) for p in training) / (OF_FLOPS * device.flops)
    reached = f"{device.sampling:.0%} of its FLOPs reached in sampling, {OF_FLOPS:.0%} in training"
    source = f"by figures of the hardware, {reached}"
    processes, sampling = config.launch.processes, engines(config)
    judging = sampling if config.verifier.model.path is None else processes
    return Rates(wrote / sampling, verified / judging, trained / processes, None, source + _sharing(config))


def _of_teams(
    rates: Rates, config: SolverConfig, dataset: Dataset, shape: Shape, found: Texts, lengths: Lengths, device: Hardware
) -> Rates:
    """`rates` of whole engines as those of ranks that share one: what is divided is what the device's figures say of
    its matrices and memory, the rest each rank does by itself; and they tell each other."""
    if config.engine.tensor_parallel == 1:
        return rates
    whole = Sampler(device, shape, _width(config, _gpu()), a_layer=0.0)
    at_once = replace(device, flops=math.inf, bandwidth=math.inf)
    telling = replace(whole, device=at_once, team=config.engine.tensor_parallel)
    rows = batch_rows(config, dataset)
    work = _an_engine(config, dataset, found, lengths, whole, whole, rows)
    told = _an_engine(config, dataset, found, lengths, telling, whole, rows)
    alone = rates.generate * config.launch.processes, rates.verify * config.launch.processes
    wrote, verified = (shared(*each, config.engine.tensor_parallel) for each in zip(alone, work, told, strict=True))
    other = config.verifier.model.path is not None
    return replace(
        rates,
        generate=wrote / engines(config),
        verify=rates.verify if other else verified / engines(config),
        source=rates.source + _sharing(config),
    )


def _an_engine(
    config: SolverConfig, dataset: Dataset, found: Texts, lengths: Lengths, solver: Reads, judge: Reads, rows: int
) -> tuple[float, float]:
    """Seconds a response token and a verdict, of one engine that has `rows` responses at once; of `judge` where another
    model judges."""
    about = about_responses(config, found, lengths)
    turn = TURN if config.engine.name == "hf" else None
    passes = a_batch(lengths.each, panel_rows(config, dataset), config.n, rows, turn)
    in_pass = about.read <= max(found.questions.values(), default=0)
    judging = solver if config.verifier.model.path is None else judge
    return roofline(solver, judging, lengths, about, rows, config.n, passes, in_pass)


def _sharing(config: SolverConfig) -> str:
    """How ranks that share an engine are planned."""
    team = config.engine.tensor_parallel
    return f"; ranks that share an engine: 1/{team} of its matrices each, and messages (assumed)" if team > 1 else ""


def needed_memory(config: SolverConfig, dataset: Dataset, shape: Shape, found: Texts, named: Hardware | None) -> Memory:
    """Bytes of a device that `config` needs, on this machine or on the `named` one."""
    longest, width = _longest(config, found), _width(config, named is not None)
    machine = this_kind(named.memory if named else _gpu_memory(), named is not None)
    rows = rows_at_once(config, dataset, shape, width, longest, machine)
    return memory(config, shape, width, rows, longest, machine)


def _longest(config: SolverConfig, found: Texts) -> Longest:
    question = max([0, *found.questions.values()])
    in_pass = about_responses(config, found, assumed(config, found)).read <= question
    likelihoods = config.verifier.readout == "expected" and config.verifier.heading is None
    return Longest(found.longest, question, in_pass, likelihoods)


def _width(config: SolverConfig, gpu: bool) -> int:
    """Bytes of a weight."""
    if config.model.dtype == "auto":
        return 2 if gpu or _gpu() else 4
    return 4 if config.model.dtype == "float32" else 2


def _share(config: SolverConfig, needs: Memory, device: Hardware) -> list[str]:
    """What vLLM would lack of the share of `device` that it is given."""
    given, wanted = config.engine.memory * device.memory, needs.sampling
    if wanted <= given:
        return []
    lacks = "it would not start" if needs.engine >= given else "it would sample fewer at once"
    return [
        f"vLLM is given engine.memory={config.engine.memory:g} of a device, {given / 2**30:.1f} GiB, and wants "
        f"{wanted / 2**30:.1f}: {lacks}; raise engine.memory or engine.tensor_parallel"
    ]


def _gpu() -> bool:
    return torch.cuda.is_available()


def _gpu_memory() -> float | None:
    return float(torch.cuda.get_device_properties(0).total_memory) if _gpu() else None


def _free() -> float:
    """Bytes that the GPU, or the machine, has free."""
    if torch.cuda.is_available():
        return float(torch.cuda.mem_get_info()[0])
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))
