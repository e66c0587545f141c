"""Numbers that mislead when they stand alone, in words: of a constant score, of an AUROC on few responses."""

from __future__ import annotations

import numpy as np

from sivgap.gap.beware import FEW
from sivgap.report.evaluation_record import Array, Evaluation

CONSTANT = "all scores are equal: the verifier says nothing"
NOTHING_KEPT = "kept nothing: no score passes"
ALL_WRONG, ALL_RIGHT = "no response is right", "every response is right"


def about_scores(found: Evaluation) -> str | None:
    """What a gap of 0 means here, where it means something else than that the verifier is of no use."""
    if found.correct.min() == found.correct.max():
        return ALL_RIGHT if found.correct.all() else ALL_WRONG
    if np.ptp(found.scores) == 0:
        return CONSTANT
    return NOTHING_KEPT if found.gap.empty == len(found.correct) else None


def kept_share(found: Evaluation) -> float:
    """Share of the responses that the weight keeps; what is kept in part counts in part."""
    return float(found.weights.mean())


def rests_on(correct: Array) -> str:
    """``rests on 1 right response``; nothing where there are enough of either kind."""
    right = int(correct.sum())
    return rests_on_few(right, correct.size - right)


def rests_on_few(right: int, wrong: int) -> str:
    """As `rests_on`, of counts."""
    count, kind = min((right, "right"), (wrong, "wrong"))
    return "" if count >= FEW else f"rests on {count} {kind} response{'' if count == 1 else 's'}"
