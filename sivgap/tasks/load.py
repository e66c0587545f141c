"""From a dataset's configuration to its problems: training, held out, and few-shot examples."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sivgap.config.dataset import DatasetConfig
from sivgap.core.problem import Problem
from sivgap.errors import RunError
from sivgap.registry import is_own, own_code
from sivgap.tasks.source import identified, read_hub, read_problems
from sivgap.tasks.task import Task, task_of

FEW_SHOT_POOL = 5
"""Few-shot examples are drawn from this many times as many candidates, the shortest solutions first."""


@dataclass(frozen=True)
class Dataset:
    """Problems to train on and problems held out; `examples` are shown in few-shot prompts and are in neither."""

    train: list[Problem]
    test: list[Problem]
    examples: list[Problem]


def load_dataset(config: DatasetConfig) -> Dataset:
    """Read or generate the problems that `config` names.

    Raises:
        RunError: If a file is broken (with its line), the hub cannot be reached, or there are too few problems.
    """
    task = task_of(config.name)
    if task.sizes and config.path is None:
        train_size, test_size = config.train_size or task.sizes[0], config.test_size or task.sizes[1]
        train = _made(config, "train", train_size + config.few_shot) or []
        return Dataset(train[config.few_shot :], _made(config, "test", test_size) or [], train[: config.few_shot])
    if config.path:
        train, test = _from_files(config, task)
    elif (made := _made(config, "train", None)) is not None:
        train, test = made, _made(config, "test", None) or []
    elif config.hub_id:
        train, test = _from_hub(config, task)
    else:
        raise RunError(f"dataset={config.name} makes no problems itself; give a file, dataset.path=TRAIN.jsonl")
    examples, train = _take_examples(train, config.few_shot, task.examples_of_any_length)
    return Dataset(
        _draw(train, config.train_size, config.data_seed, "train"),
        _draw(test, config.test_size, config.data_seed, "test"),
        examples,
    )


def _made(config: DatasetConfig, part: str, count: int | None) -> list[Problem] | None:
    """The problems of a part that the task generates, whose ids must tell them apart."""
    with own_code(f"dataset={config.name}") if is_own(config.name) else nullcontext():
        made = task_of(config.name).generate(part, count, config.data_seed)
    return made if made is None or not is_own(config.name) else identified(made, f"dataset={config.name}")


def _from_files(config: DatasetConfig, task: Task) -> tuple[list[Problem], list[Problem]]:
    problems = read_problems(Path(config.path or ""), task.read)
    if config.test_path:
        return problems, read_problems(Path(config.test_path), task.read)
    held_out = [_hash_share(p.question) < config.test_share for p in problems]
    train = [p for p, out in zip(problems, held_out, strict=True) if not out]
    test = [p for p, out in zip(problems, held_out, strict=True) if out]
    if not train or not test:
        raise RunError(
            f"{config.path}: {len(problems)} problems are too few to hold out {config.test_share:.0%}; "
            "give more, or a file of their own: dataset.test_path=TEST.jsonl"
        )
    return train, test


def _from_hub(config: DatasetConfig, task: Task) -> tuple[list[Problem], list[Problem]]:
    return (
        read_hub(config.hub_id or "", config.hub_config, "train", None, task.read),
        read_hub(config.hub_id or "", config.hub_config, task.hub_split, None, task.read),
    )


def _hash_share(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def _take_examples(train: list[Problem], count: int, any_length: bool) -> tuple[list[Problem], list[Problem]]:
    """`count` of the training problems with the shortest solutions, or with solutions of any length, and the rest."""
    if count == 0:
        return [], train
    solved = [p for p in train if p.solution]
    if len(solved) < count or len(train) <= count:
        raise RunError(f"dataset.few_shot={count}: only {len(solved)} of {len(train)} problems have a solution")
    pool = sorted(solved, key=lambda p: (len(p.solution or ""), p.id))
    if not any_length:
        pool = pool[: count * FEW_SHOT_POOL]
    chosen = sorted(pool, key=lambda p: _hash_share(p.question))[:count]
    taken = {p.id for p in chosen}
    return chosen, [p for p in train if p.id not in taken]


def _draw(problems: list[Problem], size: int | None, seed: int, part: str) -> list[Problem]:
    """`size` problems without replacement, nested in `size` (more asks for the same and some more)."""
    if size is None:
        return problems
    if size > len(problems):
        raise RunError(f"dataset.{part}_size={size}: there are {len(problems)}; ask for fewer, or null for all")
    order = np.random.default_rng([seed, *part.encode()]).permutation(len(problems))
    return [problems[i] for i in sorted(order[:size])]
