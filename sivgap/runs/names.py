"""How runs, and points in a run, are named on disk."""

from __future__ import annotations

from collections.abc import Sequence
from glob import escape
from pathlib import Path

STOP_MARK = "-step="
RESUME_FILES = ("state.json", "trajectory.jsonl", "optimizer.safetensors")
"""What a checkpoint holds beside a model: for going on, and deleted (the first first) once later ones are there."""


def epoch_name(epoch: float, step: int = 0) -> str:
    """``epoch=002.50``; with ``-step=00007`` where a signal stopped the run between two half epochs."""
    return f"epoch={epoch:06.2f}" + (f"{STOP_MARK}{step:05d}" if step else "")


def numbered_directory(folder: Path, names: Sequence[str], fresh: bool) -> Path:
    """The newest of NAME, NAME-2, NAME-3, ... in `folder`; with `fresh` the next one, which is not there yet.

    NAME is the first of `names`, unless something is there under a later one: what earlier versions called it.
    """
    taken = {name: _numbers(folder, name) for name in names}
    name = next((name for name in names if taken[name]), names[0])
    newest = max(taken[name], default=0)
    number = newest + 1 if fresh else max(newest, 1)
    return folder / (name if number == 1 else f"{name}-{number}")


def stored_under(folder: Path, names: Sequence[str]) -> Path:
    """The first of `names` in `folder`, unless a later one, of earlier versions, is there and it is not."""
    return next((folder / name for name in names if (folder / name).exists()), folder / names[0])


def _numbers(folder: Path, name: str) -> list[int]:
    """The numbers of NAME, NAME-2, ... that are in `folder`."""
    behind = [p.name[len(name) :] for p in folder.glob(f"{escape(name)}*")]
    return [int(rest[1:] or 1) for rest in behind if rest == "" or (rest.startswith("-") and rest[1:].isdigit())]
