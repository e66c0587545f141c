"""Curves to fit, from run directories, a CSV file, or W&B."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sivgap.dynamics.arrivals import Arrival
from sivgap.dynamics.curves import EPOCH, EXTERNAL, SOLVER, VERIFIER, Curves, read_curves
from sivgap.dynamics.entropy_law import EntropyLaw, fit_entropy_law
from sivgap.dynamics.population import PromptCurves
from sivgap.dynamics.weights import Weights, have_errors
from sivgap.errors import ConfigError, RunError
from sivgap.gap.beware import CHOSEN_CUT
from sivgap.runs.names import epoch_name
from sivgap.runs.tables import read_csv, read_wandb
from sivgap.runs.trajectory import Trajectory
from sivgap.runtime.read import read_parquet

Split = Literal["train", "test"]
Unit = Literal["response", "token"]
SolverEstimate = Literal["first", "all"]

_READ = ["split", "problem_id", "sample", "nll", "selected"]
"""Columns of the samples of a measurement."""

_RUN = "run"
"""The column that tells runs in one CSV file apart."""


def columns_of(unit: Unit, solver: SolverEstimate) -> dict[str, str]:
    """Columns of a trajectory that stand for U_s and U_v and their standard errors.

    Raises:
        ConfigError: For a combination that is not measured.
    """
    if unit == "token" and solver == "all":
        raise ConfigError("solver=all: the mean over all samples is measured a response, not a token; use solver=first")
    tail = "_per_token" if unit == "token" else ""
    mine = f"{SOLVER}{'_all' if solver == 'all' else tail}"
    read = {mine: SOLVER, f"{VERIFIER}{tail}": VERIFIER}
    return read | {f"{column}_se": f"{name}_se" for column, name in read.items()}


def run_folders(pattern: str, marked_by: str = "trajectory.jsonl") -> list[Path]:
    """Run directories named by a path or a pattern, in order of name; each holds a file `marked_by`.

    Raises:
        ConfigError: If there is none.
    """
    named = sorted(glob.glob(pattern))  # noqa: PTH207 - a pattern may be absolute
    found = [Path(p) for p in named if (Path(p) / marked_by).is_file()]
    if not found:
        raise ConfigError(f"{pattern}: no run directory (a folder with {marked_by}) has this name")
    return found


def common_name(folders: Sequence[Path]) -> str:
    """What the names of several runs have in common."""
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*(folder.name for folder in folders), strict=False))
    return "".join(letters[0] for letters in alike).rstrip("-_.=") or "runs"


def has_all_samples(folder: Path) -> bool:
    """Whether the run logged U_s of all samples, which very old ones did not."""
    lines = Trajectory(folder / "trajectory.jsonl").read()
    return bool(lines) and all(line.get(f"{SOLVER}_all") is not None for line in lines)


def best_weights(runs: Sequence[Curves]) -> Weights:
    """Of run directories, unless others are asked for: smoothed standard errors, equal ones where there are none."""
    return "smoothed" if have_errors(runs) else "equal"


def from_lines(lines: Sequence[dict[str, Any]], name: str) -> Curves:
    """The curves in `lines` of one split of a trajectory, U_s of all samples where it was logged.

    Raises:
        RunError: If they are too short to fit, or do not move.
    """
    every = bool(lines) and all(line.get(f"{SOLVER}_all") is not None for line in lines)
    return read_curves(_renamed(pd.DataFrame(list(lines)), "response", "all" if every else "first"), name)


def from_run(folder: Path, split: Split, unit: Unit, solver: SolverEstimate) -> Curves:
    """The curves of one run directory.

    Raises:
        RunError: If its trajectory is broken, or too short to fit.
    """
    lines = [line for line in Trajectory(folder / "trajectory.jsonl").read() if line.get("split") == split]
    if not lines:
        raise RunError(f"{folder}: its trajectory has no measurement of the {split} split yet")
    curves = read_curves(_renamed(pd.DataFrame(lines), unit, solver), folder.name)
    return replace(curves, notes=(*curves.notes, *_cut(lines, folder.name)))


def _cut(lines: Sequence[dict[str, Any]], name: str) -> list[str]:
    """What cut responses do to the curves, if there are many; nothing of a run that is too old to tell."""
    known = [(line["chosen_cut_fraction"], line[EPOCH]) for line in lines if line.get("chosen_cut_fraction")]
    share, epoch = max(known, default=(0.0, 0.0))
    if share <= CHOSEN_CUT:
        return []
    return [
        f"{name}: up to {share:.1%} of the chosen responses (epoch {epoch:g}) are cut off at the most tokens allowed: "
        "their uncertainty is a lower bound, so the fitted U_v and gap are not those of finished responses; raise "
        "sampling.max_new_tokens"
    ]


def entropy_laws(folders: Sequence[Path], split: Split, until: float | None = None) -> dict[str, EntropyLaw]:
    """The entropy law of solver accuracy in each run directory that logged ``token_entropy``, by name."""
    found = {}
    for folder in folders:
        lines = [line for line in Trajectory(folder / "trajectory.jsonl").read() if line.get("split") == split]
        names = ("token_entropy", "solver_accuracy")
        pairs = [
            [line[name] for name in names]
            for line in lines
            if all(line.get(name) is not None for name in names) and (until is None or line[EPOCH] <= until)
        ]
        law = fit_entropy_law(*np.array(pairs, dtype=np.float64).T) if pairs else None
        if law is not None:
            found[folder.name] = law
    return found


def from_csv(path: Path, unit: Unit, solver: SolverEstimate) -> list[Curves]:
    """The curves of a CSV file: one run, or several told apart by a column ``run``.

    Raises:
        ConfigError: If there is no such file.
        RunError: If it cannot be read as numbers.
    """
    table = read_csv(path)
    table = _renamed(table, unit, solver) if unit == "token" or solver == "all" else table
    if _RUN not in table.columns:
        return [read_curves(table, path.name)]
    return [read_curves(one, f"{path.name}, run {str(name)[:40]}") for name, one in table.groupby(_RUN, sort=True)]


def from_wandb(name: str, split: Split, unit: Unit, solver: SolverEstimate) -> Curves:
    """The curves of a run on W&B, ENTITY/PROJECT/RUN, as `sivgap.train` streamed them.

    Raises:
        ConfigError: If the name has not three parts.
        RunError: If it cannot be had.
    """
    table = read_wandb(name)
    prefix = f"{split}/"
    table = table.rename(columns={c: c.removeprefix(prefix) for c in table.columns if c.startswith(prefix)})
    if SOLVER in table:
        table = table[table[SOLVER].notna()].drop_duplicates(EPOCH, keep="last")
    return read_curves(_renamed(table, unit, solver), name)


def prompt_curves(folder: Path, epochs: Sequence[float], split: Split, solver: SolverEstimate) -> PromptCurves | None:
    """U_s and U_v of every prompt at `epochs`; None where samples are not all there."""
    mine, verifier = [], []
    for epoch in epochs:
        path = folder / "samples" / f"{epoch_name(epoch)}.parquet"
        if not _stored(path):
            return None
        rows = read_parquet(path, folder, _READ)
        rows = rows[rows["split"] == split]
        counted = rows[rows["sample"] == 0 if solver == "first" else rows["sample"] >= 0]
        mine.append(counted.groupby("problem_id", sort=True)["nll"].mean())
        verifier.append(rows[rows["selected"]].groupby("problem_id", sort=True)["nll"].first())
    if any(not column.index.equals(mine[0].index) for column in (*mine, *verifier)):
        return None
    own, chosen = (np.stack([c.to_numpy(np.float64) for c in part], axis=1) for part in (mine, verifier))
    return PromptCurves(own, chosen, tuple(map(str, mine[0].index)))


def panel_curves(
    folders: Sequence[Path], epochs: Sequence[float], split: Split, solver: SolverEstimate
) -> list[PromptCurves]:
    """`prompt_curves` of every run; none where those of any run are not all there."""
    found = [prompt_curves(folder, epochs, split, solver) for folder in folders]
    known = [curves for curves in found if curves is not None]
    return known if len(known) == len(found) else []


def arrivals_of(folder: Path, until: float | None = None) -> list[Arrival]:
    """The verifier of the training panel, whose prompts are given external data, at each of their arrivals.

    Older trajectories do not have it: then there is none. Without samples, the panel's share of prompts is not known
    and the timetable's takes its place.
    """
    lines = [line for line in Trajectory(folder / "trajectory.jsonl").read() if line.get("split") == "train"]
    found = []
    for line, later in pairwise(lines):
        after, before, eta = line.get("verifier_uncertainty_given"), line.get(VERIFIER), later.get(EXTERNAL)
        epoch = float(line[EPOCH])
        if after is None or before is None or not eta or (until is not None and epoch >= until):
            continue
        known = _given(folder, epoch)
        if known is None:
            found.append(Arrival(folder.name, epoch, float(eta), float(before), float(after)))
        else:
            ids, values = known
            means = values.mean(axis=0)
            found.append(Arrival(folder.name, epoch, float(means[2]), float(means[0]), float(means[1]), values, ids))
    return found


def _stored(path: Path) -> bool:
    """Whether samples are there with all that is read of them; a broken file is there, and says so when it is read."""
    import pyarrow
    from pyarrow import parquet

    if not path.is_file():
        return False
    try:
        return set(_READ) <= set(parquet.read_schema(path).names)
    except (OSError, pyarrow.ArrowException):
        return True


def _given(folder: Path, epoch: float) -> tuple[tuple[str, ...], NDArray[np.float64]] | None:
    """Names of the training panel's prompts, and their U_v before and after an arrival and whether they got data."""
    path = folder / "samples" / f"{epoch_name(epoch)}.parquet"
    if not _stored(path):
        return None
    rows = read_parquet(path, folder, _READ)
    rows = rows[rows["split"] == "train"]
    before = rows[rows["selected"]].groupby("problem_id", sort=True)["nll"].first()
    arriving = rows[(rows["sample"] < 0) & ~rows["selected"]].groupby("problem_id")["nll"].first()
    if arriving.empty or not arriving.index.isin(before.index).all():
        return None
    after = before.copy()
    after[arriving.index] = arriving
    given = before.index.isin(arriving.index).astype(np.float64)
    return tuple(map(str, before.index)), np.stack([before.to_numpy(), after.to_numpy(), given], axis=1)


def _renamed(table: pd.DataFrame, unit: Unit, solver: SolverEstimate) -> pd.DataFrame:
    """The table with the asked columns under the names that a fit reads."""
    names = columns_of(unit, solver)
    kept = [_RUN, EPOCH, EXTERNAL, *names]
    return table[[c for c in kept if c in table.columns]].rename(columns=names)
