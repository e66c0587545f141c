"""Checkpoints: safetensors and plain JSON, written aside and renamed; the newest complete one is gone on from.

Adapters are a PEFT folder, and all weights a model's folder, for any program that reads such; what a run needs to go on
stands beside them.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sivgap.core.example import Example
from sivgap.errors import RunError
from sivgap.models.source import ADAPTER_WEIGHTS
from sivgap.runs.names import RESUME_FILES, STOP_MARK
from sivgap.runtime.checksums import Damaged, check
from sivgap.runtime.files import write_folder
from sivgap.runtime.read import read_json

_STATE, _TRAJECTORY, _OPTIMIZER = RESUME_FILES
_ADAPTER, _WHOLE, _EARLIER = ADAPTER_WEIGHTS, "model.safetensors", "weights.safetensors"
"""Names of the weights' file; the last is of versions whose checkpoints nothing else could read."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        half: Half epochs trained on.
        measured: Whether the measurement due after them is in the trajectory.
        rounds: Rounds (portions that share a labelling) of the half epoch under way that are trained on.
        step_in_half: Optimiser steps done in it.
        step: Optimiser steps done in the run.
        loss_sum, loss_steps: Of the training loss since the last measurement.
        tokens, seconds_generate, seconds_verify, seconds_train: Spent since then on training rounds.
    """

    half: int = 0
    measured: bool = False
    rounds: int = 0
    step_in_half: int = 0
    step: int = 0
    loss_sum: float = 0.0
    loss_steps: int = 0
    tokens: int = 0
    seconds_generate: float = 0.0
    seconds_verify: float = 0.0
    seconds_train: float = 0.0


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to go on.

    Attributes:
        progress: Where it stands.
        weights: Trained tensors: adapters, or all weights.
        optimizer: The optimiser's state as named tensors.
        labels: Examples already chosen for half epochs to come (``refresh=epoch``).
        queue: Examples of the half epoch under way that are still to be trained on, in order.
        trajectory: All measurements so far, as they were written; None in checkpoints of older versions.
        beside: What other programs need to load the weights, by file names.
    """

    progress: Progress
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    labels: list[Example]
    queue: list[Example]
    trajectory: str | None = None
    beside: Mapping[str, bytes] = field(default_factory=dict)


def save(folder: Path, name: str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint under `name`; older ones keep their weights and lose what only resuming needs."""

    def fill(aside: Path) -> None:
        save_weights(aside, checkpoint.weights)
        for file, contents in checkpoint.beside.items():
            (aside / file).parent.mkdir(exist_ok=True)
            (aside / file).write_bytes(contents)
        save_file(checkpoint.optimizer, aside / _OPTIMIZER)
        state = {
            "progress": asdict(checkpoint.progress),
            "labels": [asdict(example) for example in checkpoint.labels],
            "queue": [asdict(example) for example in checkpoint.queue],
        }
        (aside / _STATE).write_text(json.dumps(state, allow_nan=False), encoding="utf-8")
        if checkpoint.trajectory is not None:
            (aside / _TRAJECTORY).write_text(checkpoint.trajectory, encoding="utf-8")

    write_folder(folder / name, fill)
    _prune(folder, name)


def save_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Write trained tensors under the names that peft has for adapters, and transformers for all weights."""
    adapter = any(".lora_" in name for name in weights)
    stored = {re.sub(r"(\.lora_[AB])\.default\.", r"\1.", name): tensor for name, tensor in weights.items()}
    save_file(stored, folder / (_ADAPTER if adapter else _WHOLE), metadata={"format": "pt"})


def read_weights(folder: Path) -> dict[str, Tensor]:
    """What `save_weights` was given.

    Raises:
        OSError, SafetensorError: If there is none, or it is damaged.
    """
    file = next((folder / name for name in (_ADAPTER, _WHOLE) if (folder / name).exists()), folder / _EARLIER)
    return {re.sub(r"(\.lora_[AB])\.weight$", r"\1.default.weight", name): w for name, w in load_file(file).items()}


def _example(stored: dict[str, Any]) -> Example:
    tokens = {name: tuple(stored[name]) for name in ("prompt", "response", "rejected")}
    return Example(**tokens, problem_id=stored["problem_id"], margin=stored["margin"])


def _prune(folder: Path, newest: str) -> None:
    """Keep all weights of half epochs, and the newest two states to resume from; drop overtaken stops in between."""
    names = sorted(p.name for p in folder.glob("epoch=*"))
    for name in names[: names.index(newest)]:
        if STOP_MARK in name and not (folder / name).is_symlink():
            shutil.rmtree(folder / name)
    for name in sorted(p.name for p in folder.glob("epoch=*"))[:-2]:
        for file in RESUME_FILES:  # without the first nobody reads the others
            (folder / name / file).unlink(missing_ok=True)


def load_newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that can be gone on from, or None if there never was one; and a sentence on each that is
    newer, but damaged.

    Raises:
        RunError: If all are damaged.
    """
    found = sorted((p for p in folder.glob("epoch=*") if (p / _STATE).exists()), reverse=True)
    said: list[str] = []
    for path in found:
        try:
            return _load(path), said
        except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError, Damaged) as error:
            said.append(f"{path}: this checkpoint is damaged ({' '.join(str(error).split())[:160]})")
    if said:
        raise RunError(f"{said[0]}, and there is none before it; start over with fresh=true, or delete {folder}")
    return None, []


def _load(path: Path) -> Checkpoint:
    check_all(path)
    state = read_json(path / _STATE)
    labels, queue = ([_example(stored) for stored in state[name]] for name in ("labels", "queue"))
    kept = path / _TRAJECTORY
    return Checkpoint(
        _progress(state["progress"]),
        read_weights(path),
        load_file(path / _OPTIMIZER),
        labels,
        queue,
        kept.read_text(encoding="utf-8") if kept.exists() else None,
    )


def check_all(path: Path) -> None:
    """Raises ValueError or Damaged if a file of the checkpoint at `path` is not what was written."""
    for file in sorted(path.rglob("*")):
        if file.is_symlink() or not (file.is_file() or file.is_dir()):
            raise ValueError(f"{file.name} is no ordinary file")
        if file.is_file():
            check(path, file)


def _progress(stored: dict[str, Any]) -> Progress:
    """ValueError if a count is none."""
    progress = Progress(**stored)
    for name in ("half", "rounds", "step_in_half", "step", "loss_steps", "tokens"):
        count = getattr(progress, name)
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise ValueError(f"{name} is {str(count)[:20]!r}, expected a count")
    return progress
