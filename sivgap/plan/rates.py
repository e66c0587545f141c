"""How fast a run will be, by an earlier one; `trial` and `hardware` say it where there is none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sivgap.config.schema import SolverConfig, TrainConfig
from sivgap.engines.budget import rows_under_way, token_bytes
from sivgap.errors import RunError
from sivgap.models.shape import Shape
from sivgap.plan.memory import Longest, Machine
from sivgap.plan.texts import Texts, about_responses
from sivgap.plan.work import Lengths, Phase, panels, phases
from sivgap.runs.trajectory import Line, Trajectory
from sivgap.runtime.read import read_yaml
from sivgap.tasks.load import Dataset

ALIKE = 2.0
"""Earlier batches may be as many times larger or smaller: the speed of a batch depends on its size."""


@dataclass(frozen=True)
class Rates:
    """Seconds: a response token written (its prompt's reading included), a verdict, a token of training, and what is
    left once a run (loading, grading, writing)."""

    generate: float
    verify: float
    train: float
    rest: float | None
    source: str

    def seconds(self, phase: Phase) -> float:
        if phase.name == "training":
            return self.train * phase.read
        return self.verify * phase.items if phase.name.endswith("verifying") else self.generate * phase.written


def engines(config: SolverConfig) -> int:
    """Engines that sample, to which prompts are dealt out."""
    return config.launch.processes // config.engine.tensor_parallel


def panel_rows(config: SolverConfig, dataset: Dataset) -> int:
    """Responses that an engine has of the largest panel."""
    return math.ceil(max(size for _, size in panels(config, dataset)) / engines(config)) * config.n


def batch_rows(config: SolverConfig, dataset: Dataset) -> int:
    """Responses of the largest batch that an engine really has, if memory allows."""
    return min(panel_rows(config, dataset), max(1, config.engine.batch_size // config.n) * config.n)


def rows_at_once(config: SolverConfig, dataset: Dataset, shape: Shape, width: int, asked: Longest, gpu: Machine) -> int:
    """As `batch_rows`, of an engine that has the keys and values of all of them in memory."""
    most = batch_rows(config, dataset)
    if config.engine.name != "hf":
        return most
    behind = asked.question + config.verifier.max_new_tokens if asked.in_pass else 0
    tokens = config.sampling.max_new_tokens + behind + asked.prompt / config.n
    return rows_under_way(most, config.n, tokens, token_bytes(shape, width), gpu.keys_and_values)


def from_runs(config: TrainConfig, dataset: Dataset, texts: Texts, hardware: Mapping[str, Any]) -> (
    tuple[Rates, Lengths] | None
):  # fmt: skip
    """By the newest run in ``runs_dir`` of the same model, engine, verifier and task on the same hardware."""
    found = sorted(Path(config.runs_dir).glob("*/status.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found:
        try:
            status = read_yaml(path, path.parent) or {}
            lines = Trajectory(path.parent / "trajectory.jsonl").read()
        except (OSError, ValueError, RunError):
            continue  # damaged; there may be another
        if _same_machine(status.get("hardware", {}), hardware) and any(line["step"] for line in lines):
            earlier = _read(path.parent / "config.yaml")
            if earlier is not None and _alike(config, dataset, earlier):
                return _of_run(earlier, dataset, texts, status, lines, path.parent.name)
    return None


def _same_machine(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one.get(key) == other.get(key) for key in ("machine", "system", "cores", "processes", "gpus"))


def _read(path: Path) -> TrainConfig | None:
    try:
        return TrainConfig.model_validate(read_yaml(path, path.parent))
    except (OSError, ValueError, RunError):
        return None  # of another version, or not a run


def agreeing(config: TrainConfig) -> dict[str, object]:
    """The settings that a rate depends on."""
    update = config.update.model_dump(include={"name", "parameters", "lora_rank", "batch_size", "micro_batch_size"})
    return {
        "model": config.model.model_dump(include={"name", "path", "revision", "dtype", "lora_targets"}),
        "dataset": config.dataset.model_dump(include={"name", "prompt", "few_shot"}),
        "verifier": config.verifier.model_dump(),
        "sampling": config.sampling.model_dump(include={"max_new_tokens", "solver_temperature", "top_p"}),
        "selection": config.selection.model_dump(),
        "engine": config.engine.model_dump(include={"name", "threads", "handover", "tensor_parallel"}),
        "update": update,
        "processes": config.launch.processes,
        "n": config.n,
    }


def _alike(config: TrainConfig, dataset: Dataset, earlier: TrainConfig) -> bool:
    times = batch_rows(config, dataset) / batch_rows(earlier, dataset)
    return agreeing(config) == agreeing(earlier) and 1 / ALIKE <= times <= ALIKE


def _of_run(
    earlier: TrainConfig, dataset: Dataset, texts: Texts, status: Mapping[str, Any], lines: list[Line], name: str
) -> tuple[Rates, Lengths]:
    """What a run measured of itself. Only lines of the held-out panel hold the work of one panel and nothing else."""
    panel = [line for line in lines if line["split"] == "test"]
    responses = sum(line["n_prompts"] * line["n_samples"] for line in panel)
    response = float(np.mean([line["solver_length"] for line in lines]))
    panel_tokens = sum(line["n_prompts"] * line["n_samples"] * line["solver_length"] for line in panel)
    verdict = max(0.0, (sum(line["tokens"] for line in panel) - panel_tokens) / responses)
    lengths = Lengths(texts.prompt, response, 0, verdict, _examples(earlier, lines), f"run {name}")
    training = _training(earlier, dataset, texts, lengths) * lines[-1]["epoch"] / earlier.epochs
    counted = sum(line[key] for line in lines for key in ("seconds_generate", "seconds_verify", "seconds_train"))
    return Rates(
        sum(line["seconds_generate"] for line in panel) / panel_tokens,
        sum(line["seconds_verify"] for line in panel) / responses,
        sum(line["seconds_train"] for line in lines) / max(training, 1),
        max(0.0, float(status.get("seconds", 0)) - counted) or None,
        f"run {name}",
    ), lengths


def _training(config: TrainConfig, dataset: Dataset, texts: Texts, lengths: Lengths) -> float:
    """Tokens of training, as this plan counts them."""
    from sivgap.models.shape import shape_of

    about = about_responses(config, texts, lengths)
    found = phases(config, dataset, shape_of(config.model), lengths, about)
    return next(phase.read for phase in found if phase.name == "training")


def _examples(config: TrainConfig, lines: list[Line]) -> float:
    """Examples a labelled prompt, on the mean of all measurements of the training panel."""
    found = []
    for line in [line for line in lines if line["split"] == "train"]:
        right = line["pass_at_k"].get("1") or line["solver_accuracy"]
        passing = right * (line["true_positive_rate"] or 0) + (1 - right) * (line["false_positive_rate"] or 0)
        chosen = config.n * passing if config.selection.keep == "all" else 1 - line["fallback_fraction"]
        found.append(chosen + (line["fallback_fraction"] if config.selection.fallback == "likeliest" else 0))
    return float(np.mean(found))
