"""From a dataset's configuration to its problems: training, held out, and few-shot examples."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sivgap.config.dataset import DatasetConfig
from sivgap.errors import RunError
from sivgap.tasks import arithmetic, gsm8k, math, nq_open, sudoku
from sivgap.tasks.problem import Problem
from sivgap.tasks.source import ToProblem, read_hub, read_problems

_READERS: dict[str, ToProblem] = {
    "arithmetic": arithmetic.to_problem,
    "gsm8k": gsm8k.to_problem,
    "math": math.to_problem,
    "nq_open": nq_open.to_problem,
    "sudoku": sudoku.to_problem,
}

_HELD_OUT_SPLIT = {"nq_open": "validation"}
"""Names of held-out splits on the hub that are not ``test``."""

FEW_SHOT_POOL = 5
"""Few-shot examples are drawn from this many times as many candidates, the shortest solutions first."""

_ALIKE = ("nq_open", "sudoku")
"""Tasks whose solutions are all short, or all as long: there the shortest are only the odd ones (answers of one letter,
puzzles with the most clues), and examples are drawn from all."""


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
    if config.name == "arithmetic" and config.path is None:
        train_size, test_size = config.train_size or 4096, config.test_size or 512
        train = arithmetic.generate(train_size + config.few_shot, "train", config.data_seed)
        test = arithmetic.generate(test_size, "test", config.data_seed)
        return Dataset(train[config.few_shot :], test, train[: config.few_shot])
    if config.path:
        train, test = _from_files(config)
    elif config.name == "sudoku":
        train, test = (sudoku.generate(part, config.data_seed) for part in ("train", "test"))
    else:
        train, test = _from_hub(config)
    examples, train = _take_examples(train, config.few_shot, any_length=config.name in _ALIKE)
    return Dataset(
        _draw(train, config.train_size, config.data_seed, "train"),
        _draw(test, config.test_size, config.data_seed, "test"),
        examples,
    )


def _from_files(config: DatasetConfig) -> tuple[list[Problem], list[Problem]]:
    problems = read_problems(Path(config.path or ""), _READERS[config.name])
    if config.test_path:
        return problems, read_problems(Path(config.test_path), _READERS[config.name])
    held_out = [_hash_share(p.question) < config.test_share for p in problems]
    train = [p for p, out in zip(problems, held_out, strict=True) if not out]
    test = [p for p, out in zip(problems, held_out, strict=True) if out]
    if not train or not test:
        raise RunError(
            f"{config.path}: {len(problems)} problems are too few to hold out {config.test_share:.0%}; "
            "give more, or a file of their own: dataset.test_path=TEST.jsonl"
        )
    return train, test


def _from_hub(config: DatasetConfig) -> tuple[list[Problem], list[Problem]]:
    hub_id, reader = config.hub_id or "", _READERS[config.name]
    return (
        read_hub(hub_id, config.hub_config, "train", None, reader),
        read_hub(hub_id, config.hub_config, _HELD_OUT_SPLIT.get(config.name, "test"), None, reader),
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
