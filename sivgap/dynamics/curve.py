"""A single curve of anybody's run: one column by step, from tables that strangers may have made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.curves import numbers_of
from sivgap.dynamics.forecast import FEWEST_SEEN
from sivgap.errors import RunError

STEPS = ("step", "epoch", "_step", "global_step", "train/global_step", "iteration", "iter")
"""Columns that are taken for the step where none is named, the first that there is."""

ENTROPIES = ("token_entropy", "entropy", "train/entropy", "actor/entropy")
"""Columns that are taken for the entropy of tokens (nats) where none is named."""

LENGTHS = ("solver_length", "length", "response_length", "response_length/mean", "completions/mean_length")
"""Columns that are taken for the length of responses."""


Series = tuple[Array, Array]
"""Ascending steps and values."""


@dataclass(frozen=True)
class Curve:
    """Ascending steps (T,) and values (T,) of one run; `label` is the column.

    `entropy` and `length` are what was logged beside it, at steps of their own. `notes` says in plain sentences what
    was odd about the data and what was done about it.
    """

    name: str
    label: str
    step: Array
    value: Array
    entropy: Series | None = None
    length: Series | None = None
    notes: tuple[str, ...] = ()

    def until(self, step: float) -> Curve:
        """What had been seen at `step`.

        Raises:
            RunError: If too little had.
        """
        seen = self.step <= step
        if seen.sum() < FEWEST_SEEN:
            raise RunError(
                f"{self.name}: {seen.sum()} points up to until={step:g}; a forecast needs at least {FEWEST_SEEN}"
            )
        return replace(
            self,
            step=self.step[seen],
            value=self.value[seen],
            entropy=_until(self.entropy, step),
            length=_until(self.length, step),
        )


def _until(series: Series | None, step: float) -> Series | None:
    return None if series is None else (series[0][series[0] <= step], series[1][series[0] <= step])


def read_curve(frame: pd.DataFrame, column: str, step: str | None, name: str, entropy: str | None = None) -> Curve:
    """The curve in `column` by `step` (by default the first of `STEPS` that is there, else the number of the row).

    Rows without a value are left out (logs have many), unsorted ones are sorted.

    Raises:
        RunError: Naming what is wrong: a missing column, text for a number, infinite values, a step that comes twice,
            too few points, or a curve that does not move.
    """
    for wanted in (column, *(named for named in (step, entropy) if named)):
        _present(frame, wanted, name)
    step = step or _first(frame, STEPS, but=column)
    when = pd.Series(np.arange(len(frame), dtype=float), frame.index)
    if step is not None:
        when = numbers_of(frame[step], step, name)
    notes = [] if step is not None else [f"{name}: no column of steps, so rows are counted (step=COLUMN names one)"]
    values = numbers_of(frame[column], column, name)
    whole = when.notna() & values.notna()
    if not whole.any():
        raise RunError(f"{name}: {column} holds no number")
    if not whole.all():
        notes.append(f"{name}: {int((~whole).sum())} of {len(whole)} rows have no {column} and were left out")
    if not when[whole].is_monotonic_increasing:
        notes.append(f"{name}: steps were not in order and were sorted")
    table = pd.DataFrame({"step": when[whole], "value": values[whole]}).sort_values("step", kind="stable")
    _check(table, column, name)
    return Curve(
        name,
        column,
        table["step"].to_numpy(np.float64),
        table["value"].to_numpy(np.float64),
        _beside(frame, when, entropy or _first(frame, ENTROPIES, but=column), name),
        _beside(frame, when, _first(frame, LENGTHS, but=column), name),
        tuple(notes),
    )


def _beside(frame: pd.DataFrame, when: pd.Series, column: str | None, name: str) -> Series | None:
    """Another column, at the steps where it is known; the last value of a step that comes twice."""
    if column is None:
        return None
    table = pd.DataFrame({"step": when, "value": numbers_of(frame[column], column, name)}).dropna()
    table = table.sort_values("step", kind="stable").drop_duplicates("step", keep="last")
    return (table["step"].to_numpy(np.float64), table["value"].to_numpy(np.float64)) if len(table) else None


def _present(frame: pd.DataFrame, column: str, name: str) -> None:
    if column not in frame.columns:
        found = ", ".join(str(title)[:40] for title in frame.columns[:12]) or "none"
        raise RunError(f"{name}: no column {column}; found {found}")


def _first(frame: pd.DataFrame, names: Sequence[str], but: str = "") -> str | None:
    return next((title for title in names if title in frame.columns and title != but), None)


def _check(table: pd.DataFrame, column: str, name: str) -> None:
    twice = table["step"][table["step"].duplicated()]
    if len(twice):
        raise RunError(
            f"{name}: step {twice.iloc[0]:g} comes more than once; expected one row a step. Several runs in one file "
            "need run=COLUMN, the column that tells them apart"
        )
    if len(table) < FEWEST_SEEN:
        points = f"{len(table)} point{'' if len(table) == 1 else 's'}"
        raise RunError(f"{name}: {points} of {column}; a forecast needs at least {FEWEST_SEEN}")
    values = table["value"].to_numpy()
    if np.ptp(values) <= 1e-12 * max(float(np.abs(values).max()), 1e-300):
        raise RunError(f"{name}: {column} never changes; there is nothing to forecast")
