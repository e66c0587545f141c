"""Solver and verifier over N, from the stored samples: what choosing among more responses brings (MG Sec. 4).

For each n all subsets of n of a prompt's N samples choose as SV Eq. 5 does, and average.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sivgap.gap.estimate import Array
from sivgap.gap.over_n import choice_probability, powers_of_two
from sivgap.gap.selection import Selection
from sivgap.report.record import Record


def over_n_of(record: Record) -> dict[float, pd.DataFrame]:
    """`over_n` of a run's first and last measurement, by epoch."""
    selection = Selection.of_record(record.config)
    return {epoch: over_n(samples, selection) for epoch, samples in record.samples.items()}


def over_n(samples: pd.DataFrame, selection: Selection) -> pd.DataFrame:
    """Columns n, solver_uncertainty, verifier_uncertainty, solver_accuracy, verifier_accuracy, likeliest_accuracy (of
    the choice without the score); one row a power of two.

    `samples` holds one panel's responses, ordered by prompt and sample.
    """
    prompts = samples["problem_id"].nunique()
    values: dict[str, Any] = {
        name: samples[name].to_numpy(np.float64).reshape(prompts, -1) for name in ("nll", "length", "score", "correct")
    }
    finished = finished_of(samples).reshape(prompts, -1)
    unparsed = unparsed_share(samples).reshape(prompts, -1)
    rows = []
    for n in powers_of_two(values["nll"].shape[1]):
        by = values["score"], values["nll"], values["length"], finished
        chosen = choice_probability(*by, selection, n, unparsed)
        likeliest = choice_probability(*by, selection.without_scores, n)
        rows.append(
            {
                "n": n,
                "solver_uncertainty": float(values["nll"].mean()),
                "verifier_uncertainty": float((chosen * values["nll"]).sum(axis=1).mean()),
                "solver_accuracy": float(values["correct"].mean()),
                "verifier_accuracy": float((chosen * values["correct"]).sum(axis=1).mean()),
                "likeliest_accuracy": float((likeliest * values["correct"]).sum(axis=1).mean()),
            }
        )
    return pd.DataFrame(rows)


def finished_of(samples: pd.DataFrame) -> Array:
    """Whether each response ended by itself; runs that do not say so chose without regard to it."""
    return samples["finished"].to_numpy(np.float64) if "finished" in samples else np.ones(len(samples))


def unparsed_share(samples: pd.DataFrame) -> Array:
    """Share of each response's verdicts that could not be read; older runs say whether there was one, or nothing."""
    for name in ("unparsed_share", "unparsed"):
        if name in samples:
            return samples[name].to_numpy(np.float64)
    return np.zeros(len(samples))
