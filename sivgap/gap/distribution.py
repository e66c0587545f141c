"""How scores lie, of right and of wrong responses, and how gaps lie over prompts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sivgap.gap.estimate import Array, proportion

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def score_histogram(scores: Array, correct: Array, bins: int = 20) -> pd.DataFrame:
    """Columns low, high (edges), right, wrong (responses), right_share, wrong_share (of all right, of all wrong).

    `scores` in [0, 1] and `correct`, 0 or 1, are (P, N). A bin holds its lower edge, the last one both.
    """
    edges = np.linspace(0, 1, bins + 1)
    table = pd.DataFrame({"low": edges[:-1], "high": edges[1:]})
    for name, of in (("right", correct == 1), ("wrong", correct == 0)):
        table[name] = np.histogram(scores[of], edges)[0]
    for name in ("right", "wrong"):
        table[f"{name}_share"] = table[name] / total if (total := int(table[name].sum())) else None
    return table


def score_quantiles(scores: Array, correct: Array, quantiles: Sequence[float] = QUANTILES) -> pd.DataFrame:
    """Columns quantile, right, wrong: of the scores of the right and of the wrong responses; arrays (P, N)."""
    table = pd.DataFrame({"quantile": list(quantiles)})
    for name, of in (("right", correct == 1), ("wrong", correct == 0)):
        table[name] = np.quantile(scores[of], quantiles) if of.any() else None
    return table


def gap_quantiles(gaps: Array, quantiles: Sequence[float] = QUANTILES) -> pd.DataFrame:
    """Columns quantile, gv_gap: of the gaps by prompt, (P,)."""
    return pd.DataFrame({"quantile": list(quantiles), "gv_gap": np.quantile(gaps, quantiles)})


def gap_signs(gaps: Array) -> pd.DataFrame:
    """Where the filter helps, changes nothing, and harms: columns sign, prompts, share with _se, _low, _high.

    `gaps` (P,). A mean gap near 0 can be many prompts without a gap, or as many won as lost.
    """
    kinds = {"positive": gaps > 0, "zero": gaps == 0, "negative": gaps < 0}
    return pd.DataFrame(
        [
            {"sign": name, "prompts": int(of.sum()), **proportion(of.astype(np.float64)).columns("share")}
            for name, of in kinds.items()
        ]
    )
