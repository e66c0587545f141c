"""Solver and verifier over N, from the stored samples: what choosing among more responses brings (MG Sec. 4).

For each n all subsets of n of a prompt's N samples choose as SV Eq. 5 does, and average.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sivgap.gap.over_n import choice_probability, powers_of_two
from sivgap.report.record import Record


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
    rows = []
    for n in powers_of_two(values["nll"].shape[1]):
        chosen = choice_probability(values["score"], values["nll"], values["length"], threshold, n)
        rows.append(
            {
                "n": n,
                "solver_uncertainty": float(values["nll"].mean()),
                "verifier_uncertainty": float((chosen * values["nll"]).sum(axis=1).mean()),
                "solver_accuracy": float(values["correct"].mean()),
                "verifier_accuracy": float((chosen * values["correct"]).sum(axis=1).mean()),
            }
        )
    return pd.DataFrame(rows)
