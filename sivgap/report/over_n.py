"""Solver and verifier over N, from the stored samples: what choosing among more responses brings (MG Sec. 4).

For each n the N samples of a prompt are cut into groups of n, each chooses as SV Eq. 5 does, and the groups average.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sivgap.report.record import Record
from sivgap.selection import best_of_n

Array = NDArray[np.float64]


def over_n_of(record: Record) -> dict[float, pd.DataFrame]:
    """`over_n` of a run's first and last measurement, by epoch."""
    threshold = float(record.config.get("selection", {}).get("threshold", 0.5))
    return {epoch: over_n(samples, threshold) for epoch, samples in record.samples.items()}


def over_n(samples: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Columns n, solver_uncertainty, verifier_uncertainty, solver_accuracy, verifier_accuracy, one row a power of two.

    `samples` holds one panel's responses, ordered by prompt and sample.
    """
    prompts = samples["problem_id"].nunique()
    values: dict[str, Any] = {
        name: samples[name].to_numpy(np.float64).reshape(prompts, -1) for name in ("nll", "length", "score", "correct")
    }
    largest = values["nll"].shape[1]
    rows = []
    for n in (2**i for i in range(largest.bit_length())):
        groups = largest // n
        group = {name: value[:, : groups * n].reshape(prompts * groups, n) for name, value in values.items()}
        chosen = best_of_n(group["score"], group["nll"], group["length"], threshold).chosen
        at = np.arange(len(chosen)), chosen
        rows.append(
            {
                "n": n,
                "solver_uncertainty": float(values["nll"].mean()),
                "verifier_uncertainty": float(group["nll"][at].mean()),
                "solver_accuracy": float(values["correct"].mean()),
                "verifier_accuracy": float(group["correct"][at].mean()),
            }
        )
    return pd.DataFrame(rows)
