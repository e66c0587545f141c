"""What a comparison reads of a run or an evaluation: numbers of every prompt at each measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sivgap.errors import ConfigError, RunError
from sivgap.report.evaluation_record import Evaluation, read_evaluation
from sivgap.report.record import read_record
from sivgap.runs.names import epoch_name
from sivgap.runtime.read import read_parquet

METRICS = {
    "solver_accuracy": "solver accuracy, all N", "verifier_accuracy": "best of N", "solver_uncertainty": "U_s, all N",
    "verifier_uncertainty": "U_v", "gap": "gap",
}  # fmt: skip
"""What is compared; accuracies are shares, the others nats a response."""

_READ = ["split", "problem_id", "sample", "nll", "correct", "selected"]


@dataclass(frozen=True)
class Side:
    """One of two that are compared.

    Attributes:
        kind: run, or evaluation.
        prompts: By epoch (0 for an evaluation) a table with a row a problem, by its id, and the columns `METRICS`.
        samples: Where the responses of the last epoch are kept; None of an evaluation, which keeps them elsewhere.
        split: Of the panel.
    """

    name: str
    kind: str
    config: dict[str, Any]
    prompts: dict[float, pd.DataFrame]
    samples: Path | None = None
    split: str = "test"

    def chosen(self, problems: Sequence[str]) -> list[pd.Series[Any]]:
        """The chosen response of each of some `problems` at the last epoch, as a run's samples have it."""
        if self.samples is None or not problems:
            return []
        rows = read_parquet(self.samples, self.samples.parent.parent)
        rows = rows[(rows["split"] == self.split) & rows["selected"]].drop_duplicates("problem_id")
        by_problem = rows.set_index("problem_id")
        return [by_problem.loc[[name]].iloc[0] for name in problems]


def read_side(folder: Path, split: str) -> Side:
    """The run or evaluation in `folder`.

    Raises:
        ConfigError: If it is neither.
        RunError: If it cannot be read, or a run has no samples of the panel.
    """
    if (folder / "trajectory.jsonl").is_file():
        return _of_run(folder, split)
    if (folder / "scores.parquet").is_file():
        return _of_evaluation(read_evaluation(folder))
    raise ConfigError(
        f"{folder}: expected the directory of a run (with trajectory.jsonl) or of an evaluation (with scores.parquet)"
    )


def _of_run(folder: Path, split: str) -> Side:
    record, last = read_record(folder), folder
    prompts = {}
    for epoch in (float(line["epoch"]) for line in record.of(split)):
        path = folder / "samples" / f"{epoch_name(epoch)}.parquet"
        if not path.is_file():
            continue
        rows = read_parquet(path, folder, _READ)
        rows = rows[rows["split"] == split]
        own = rows[rows["sample"] >= 0].groupby("problem_id", sort=True)
        last, chosen = path, rows[rows["selected"]].drop_duplicates("problem_id").set_index("problem_id").sort_index()
        prompts[epoch] = _table(own["correct"].mean(), own["nll"].mean(), chosen["correct"], chosen["nll"])
    if not prompts:
        raise RunError(f"{folder}: no samples of the {split} panel; a comparison prompt by prompt needs samples/")
    return Side(folder.name, "run", record.config, prompts, last, split)


def _of_evaluation(found: Evaluation) -> Side:
    by = found.scores, found.nll, found.length, found.finished
    at = np.arange(len(found.nll)), found.selection.choose(*by, found.unparsed).chosen
    index = pd.Index(found.problems.astype(str), name="problem_id")
    series = [
        pd.Series(values, index=index)
        for values in (found.correct.mean(axis=1), found.nll.mean(axis=1), found.correct[at], found.nll[at])
    ]
    return Side(found.name, "evaluation", found.config, {0.0: _table(*series).sort_index()})


def _table(accuracy: pd.Series, nll: pd.Series, right: pd.Series, chosen: pd.Series) -> pd.DataFrame:
    columns = accuracy, right, nll, chosen, nll - chosen
    return pd.DataFrame({name: column.astype(float) for name, column in zip(METRICS, columns, strict=True)})
