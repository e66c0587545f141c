"""How runs, and points in a run, are named on disk."""

from __future__ import annotations

from pathlib import Path

STOP_MARK = "-step="


def epoch_name(epoch: float, step: int = 0) -> str:
    """``epoch=002.50``; with ``-step=00007`` where a signal stopped the run between two half epochs."""
    return f"epoch={epoch:06.2f}" + (f"{STOP_MARK}{step:05d}" if step else "")


def numbered_directory(folder: Path, name: str, fresh: bool) -> Path:
    """The newest of NAME, NAME-2, NAME-3, ... in `folder`; with `fresh` the next one, which is not there yet."""
    taken = [int(p.name[len(name) + 1 :] or 1) for p in folder.glob(f"{name}*") if _numbered(p.name, name)]
    newest = max(taken, default=0)
    number = newest + 1 if fresh else max(newest, 1)
    return folder / (name if number == 1 else f"{name}-{number}")


def _numbered(candidate: str, name: str) -> bool:
    rest = candidate[len(name) :]
    return rest == "" or (rest.startswith("-") and rest[1:].isdigit())
