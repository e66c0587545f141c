"""How points in a run are named in its directory."""

from __future__ import annotations

STOP_MARK = "-step="


def epoch_name(epoch: float, step: int = 0) -> str:
    """``epoch=002.50``; with ``-step=00007`` where a signal stopped the run between two half epochs."""
    return f"epoch={epoch:06.2f}" + (f"{STOP_MARK}{step:05d}" if step else "")
