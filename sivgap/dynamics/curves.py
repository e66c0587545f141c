"""The curves that a fit reads: solver and verifier uncertainty by epoch, from tables that strangers may have made."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sivgap.dynamics.closed_form import Array
from sivgap.errors import RunError

EPOCH, SOLVER, VERIFIER = "epoch", "solver_uncertainty", "verifier_uncertainty"
EXTERNAL = "external_new"
FEWEST = 4
"""Epochs below which five parameters cannot be fitted to two curves with anything left to judge the fit by."""


@dataclass(frozen=True)
class Curves:
    """One run: ascending epochs (T,), U_s and U_v in nats (T,), their standard errors where known.

    `notes` says in plain sentences what was odd about the data and what was done about it; `arrivals` says when
    external data came, (epoch, eta).
    """

    name: str
    epoch: Array
    solver: Array
    verifier: Array
    solver_se: Array | None = None
    verifier_se: Array | None = None
    notes: tuple[str, ...] = ()
    arrivals: tuple[tuple[float, float], ...] = ()

    @property
    def gap(self) -> Array:
        return self.solver - self.verifier

    def until(self, epoch: float) -> Curves:
        """What had been seen at `epoch`.

        Raises:
            RunError: If too little had.
        """
        seen = self.epoch <= epoch
        if seen.sum() < FEWEST:
            raise RunError(f"{self.name}: {seen.sum()} epochs up to until={epoch:g}; a fit needs at least {FEWEST}")
        return replace(
            self,
            epoch=self.epoch[seen],
            solver=self.solver[seen],
            verifier=self.verifier[seen],
            solver_se=None if self.solver_se is None else self.solver_se[seen],
            verifier_se=None if self.verifier_se is None else self.verifier_se[seen],
            arrivals=tuple((when, eta) for when, eta in self.arrivals if when < epoch),
        )


def read_curves(frame: pd.DataFrame, name: str) -> Curves:
    """The curves in the columns epoch, solver_uncertainty, verifier_uncertainty (and their ``_se``) of one run.

    Rows in which one of the three is missing are left out, unsorted rows are sorted; both are noted.

    Raises:
        RunError: Naming what is wrong: a missing column, text for a number, infinite values, an epoch that comes
            twice, fewer than `FEWEST` epochs, or a curve that does not move.
    """
    absent = [column for column in (EPOCH, SOLVER, VERIFIER) if column not in frame.columns]
    if absent:
        found = ", ".join(str(column)[:40] for column in frame.columns[:12]) or "none"
        raise RunError(f"{name}: no column {', '.join(absent)}; expected {EPOCH}, {SOLVER}, {VERIFIER}, found {found}")
    known = (EPOCH, SOLVER, VERIFIER, f"{SOLVER}_se", f"{VERIFIER}_se", EXTERNAL)
    columns = [c for c in known if c in frame.columns]
    table = pd.DataFrame({column: numbers_of(frame[column], column, name) for column in columns})
    notes = []
    whole = table[[EPOCH, SOLVER, VERIFIER]].notna().all(axis=1)
    if not whole.all():
        notes.append(f"{name}: {int((~whole).sum())} of {len(table)} rows have missing values and were left out")
        table = table[whole]
    if not table[EPOCH].is_monotonic_increasing:
        notes.append(f"{name}: epochs were not in order and were sorted")
        table = table.sort_values(EPOCH, kind="stable")
    _check(table, name)
    values = {column: table[column].to_numpy(np.float64) for column in columns}
    return Curves(
        name,
        values[EPOCH],
        values[SOLVER],
        values[VERIFIER],
        _errors(values.get(f"{SOLVER}_se")),
        _errors(values.get(f"{VERIFIER}_se")),
        tuple(notes),
        _arrivals(values[EPOCH], values.get(EXTERNAL)),
    )


def numbers_of(column: pd.Series, title: str, name: str) -> pd.Series:
    """A column of a table as numbers; what is empty stays missing.

    Raises:
        RunError: Where there is text, or an infinite value.
    """
    try:
        numbers = pd.to_numeric(column, errors="coerce")
    except OverflowError as error:
        raise RunError(f"{name}: {title} holds a number of too many digits") from error
    wrong = numbers.isna() & column.notna()
    if wrong.any():
        row = int(np.flatnonzero(wrong.to_numpy())[0])
        raise RunError(f"{name}, row {row + 1}: {title} is {str(column.iloc[row])[:40]!r}, expected a number")
    if np.isinf(numbers.to_numpy(np.float64)).any():
        raise RunError(f"{name}: {title} holds infinite values")
    return numbers


def _check(table: pd.DataFrame, name: str) -> None:
    twice = table[EPOCH][table[EPOCH].duplicated()]
    if len(twice):
        raise RunError(
            f"{name}: epoch {twice.iloc[0]:g} comes more than once; expected one row an epoch. Several runs in one "
            "file need a column 'run' that tells them apart"
        )
    if len(table) and table[EPOCH].min() < 0:
        raise RunError(f"{name}: epoch {table[EPOCH].min():g} is negative; epochs count from the start of training")
    if len(table) < FEWEST:
        raise RunError(f"{name}: {len(table)} epochs; a fit of five parameters needs at least {FEWEST}")
    for title in (SOLVER, VERIFIER):
        size = float(table[title].abs().max())
        if np.ptp(table[title].to_numpy()) <= 1e-12 * max(size, 1e-300):
            raise RunError(f"{name}: {title} never changes; there are no dynamics to fit")


def _arrivals(epoch: Array, external: Array | None) -> tuple[tuple[float, float], ...]:
    """What was newly given by one measurement came just after the measurement before it."""
    if external is None:
        return ()
    before = np.concatenate([[0.0], epoch[:-1]])
    return tuple((float(t), float(eta)) for t, eta in zip(before, np.nan_to_num(external), strict=True) if eta > 0)


def _errors(values: Array | None) -> Array | None:
    """Standard errors, if there is a positive one for every point."""
    return values if values is not None and bool(np.all(np.nan_to_num(values) > 0)) else None
