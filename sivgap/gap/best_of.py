"""One answer from N responses: the best-scored, the commonest, or the commonest weighted by score.

Responses with equal answers (18, 18.0 and 18., by the grader's equality) stand for one answer. A missing answer has no
equal and no vote; where all are missing, any response is as good as another. Ties bring the mean over what is tied, as
a draw would on average.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sivgap.gap.estimate import Array, Mask, mean, proportion
from sivgap.gap.rival import mixed
from sivgap.grading.votes import vote_key

Answers = NDArray[np.object_]
"""(P, N): the answer of each response, or its key, a string; anything else (None, a table's NaN) is no answer."""

TIED = 1e-12
"""Sums of scores nearer than this are equal: they differ by rounding."""


def best_by_score(
    utility: Array, scores: Array, nll_per_token: Array | None = None, eligible: Mask | None = None
) -> Array:
    """Expected utility of the best-scored of the `eligible` responses (all, if not given), (P,); among ties the lowest
    U/|y|, if given. Arrays (P, N)."""
    known = scores if eligible is None else np.where(eligible, scores, -np.inf)
    best = known >= known.max(axis=1, keepdims=True)
    if nll_per_token is not None:
        among = np.where(best, nll_per_token, np.inf)
        best = among <= among.min(axis=1, keepdims=True)
    return (utility * best).sum(axis=1) / best.sum(axis=1)  # type: ignore[no-any-return]


def vote(utility: Array, answers: Answers, weights: Array) -> Array:
    """Expected utility of the answer with the largest sum of weights, (P,); all arrays (P, N)."""
    return np.array([_vote(*prompt) for prompt in zip(utility, answers, weights, strict=True)])


def _vote(utility: Array, answers: Answers, weights: Array) -> float:
    responses: dict[str, list[int]] = {}
    for i, answer in enumerate(answers):
        if isinstance(answer, str):
            responses.setdefault(vote_key(answer), []).append(i)
    if not responses:
        return float(utility.mean())
    # Exactly rounded sums do not depend on the order of the responses.
    votes = {answer: math.fsum(weights[of]) for answer, of in responses.items()}
    most = max(votes.values()) - TIED
    return float(np.mean([utility[responses[answer]].mean() for answer, got in votes.items() if got >= most]))


def best_of_table(
    utility: Array,
    answers: Answers,
    scores: Array,
    nll_per_token: Array | None = None,
    eligible: Mask | None = None,
) -> pd.DataFrame:
    """Accuracy of one response, best-of-N by score, majority, and majority weighted by score; one row each. With
    `nll_per_token`, which then breaks ties of the score, also of the likeliest: best-of-N without a score. Both choose
    among the `eligible` (`Selection.eligible`); votes are of all.

    Columns method, accuracy, difference (from best-of-N, paired by prompt), each number with _se, _low, _high.
    """
    best = best_by_score(utility, scores, nll_per_token, eligible)
    methods = {
        "one_response": utility.mean(axis=1),
        "best_of_n": best,
        "majority": vote(utility, answers, np.ones_like(scores)),
        "weighted_majority": vote(utility, answers, scores),
    }
    if nll_per_token is not None:
        methods["likeliest"] = best_by_score(utility, np.zeros_like(scores), nll_per_token, eligible)
    return pd.DataFrame(
        [
            {
                "method": name,
                **proportion(values, utility.shape[1] if name == "one_response" else 1).columns("accuracy"),
                **mean(values - best, mixed(utility) & (name != "best_of_n")).columns("difference"),
            }
            for name, values in methods.items()
        ]
    )
