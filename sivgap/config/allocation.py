"""From ``cross.strategy`` to eta_t, the share (or number) of prompts newly given external responses in each epoch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from sivgap.dynamics.schedules import schedules
from sivgap.runtime.read import read_json

if TYPE_CHECKING:
    from sivgap.config.cross import CrossConfig

_SLACK = 1e-3
"""How far a schedule's sum may be off its budget, relatively: schedules are printed with four digits."""


def read_schedule(path: Path) -> list[float]:
    """The best plan in an ``allocation.json`` of `sivgap.allocate`.

    Raises:
        ValueError: If there is none.
        Damaged: If it is not what was written.
    """
    try:
        plans = read_json(path, path.parent)["plans"]
        return [float(share) for share in next(plan["eta"] for plan in plans if plan["name"] == "best")]
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise ValueError(
            f"{path} is no allocation.json that can be read; make one with python -m sivgap.allocate"
        ) from error


def planned(cross: CrossConfig, epochs: float) -> tuple[float, ...]:
    """What is given at the start of each epoch, in the unit of ``cross.budget``; empty without external data.

    Raises:
        ValueError: If the plan does not fit the budget, or reaches beyond the run of `epochs`.
    """
    whole = math.ceil(epochs)
    if cross.strategy == "none":
        return ()
    if cross.strategy != "custom":
        last = 1 if cross.strategy == "early" else cross.epochs
        if last > whole:
            raise ValueError(f"cross.epochs: expected at most the run's {epochs:g} epochs, got {cross.epochs}")
        return tuple(float(share) for share in schedules(cross.budget, whole, cross.epochs)[cross.strategy])
    given = cross.schedule or []
    if not any(given):
        raise ValueError("cross.schedule: strategy=custom needs one, [0.1, 0, 0.05] for example")
    if any(given[whole:]):
        raise ValueError(f"cross.schedule: gives data in epoch {len(given)}, the run has {epochs:g}")
    if abs(sum(given) - cross.budget) > _SLACK * cross.budget:
        raise ValueError(f"cross.schedule: adds up to {sum(given):g}, cross.budget is {cross.budget:g}")
    exact = cross.budget / sum(given)
    return tuple(share * exact for share in [*given, *[0.0] * whole][:whole])
