"""What a verifier's score adds to the likelihood, which costs nothing: -U/|y| of the very responses that it judges.

SV's rule breaks ties by likelihood, so best of N gains also from a score that is the same for every response. What the
score is worth is the difference: of AUROC, and of best of N by score and likelihood against by likelihood alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sivgap.gap.auroc import auroc, auroc_by_prompt, auroc_estimate, auroc_influence, auroc_within
from sivgap.gap.estimate import UNDEFINED, Array, Estimate, Mask, from_influence, mean, proportion
from sivgap.gap.selection import Selection

_SAME = 1e-9
"""Scores nearer than this are one: they differ by rounding."""


@dataclass(frozen=True)
class Rival:
    """The score and the likelihood of the same responses, side by side; each difference is paired, score's first.

    Attributes:
        score_auroc, likelihood_auroc, auroc_gain: Over all pairs of a right and a wrong response, whatever their
            prompts: this measures, too, which prompts are easy.
        score_auroc_within, likelihood_auroc_within, auroc_gain_within: Within prompts, the mean over those that have
            right and wrong responses; best of N depends on this alone.
        verifier_accuracy, likeliest_accuracy, score_gain: Of the response chosen by both, and by likelihood alone.
    """

    score_auroc: Estimate
    likelihood_auroc: Estimate
    auroc_gain: Estimate
    score_auroc_within: Estimate
    likelihood_auroc_within: Estimate
    auroc_gain_within: Estimate
    verifier_accuracy: Estimate
    likeliest_accuracy: Estimate
    score_gain: Estimate


def rival(
    scores: Array,
    nll: Array,
    length: Array,
    finished: Array,
    correct: Array,
    selection: Selection,
    unparsed: Array | None = None,
) -> Rival:
    """The score against the likelihood, from arrays (P, N); `correct` and `finished` are 0 or 1."""
    likelihood = -nll / length
    at = np.arange(len(correct))
    chosen = correct[at, selection.choose(scores, nll, length, finished, unparsed).chosen]
    alone = correct[at, selection.without_scores.choose(scores, nll, length, finished).chosen]
    return Rival(
        auroc_estimate(scores, correct),
        auroc_estimate(likelihood, correct),
        _auroc_gain(scores, likelihood, correct),
        auroc_within(scores, correct),
        auroc_within(likelihood, correct),
        _auroc_gain_within(scores, likelihood, correct),
        proportion(chosen),
        proportion(alone),
        mean(chosen - alone, mixed(correct) & (varied(scores, unparsed) > 0)),
    )


def _auroc_gain(scores: Array, likelihood: Array, correct: Array) -> Estimate:
    by = [auroc_influence(values, correct) for values in (scores, likelihood)]
    values = [auroc(values, correct) for values in (scores, likelihood)]
    if by[0] is None or by[1] is None or values[0] is None or values[1] is None:
        return UNDEFINED
    return from_influence(values[0] - values[1], by[0] - by[1])


def _auroc_gain_within(scores: Array, likelihood: Array, correct: Array) -> Estimate:
    both = mixed(correct)
    by_score, by_likelihood = (auroc_by_prompt(values, correct)[both] for values in (scores, likelihood))
    return mean(by_score - by_likelihood, np.ones(int(both.sum())))


def rival_table(found: Rival) -> pd.DataFrame:
    """Rows score, likelihood and difference; columns auroc_within, auroc and best_of_n, each with _se, _low, _high."""
    rows = {
        "score": (found.score_auroc, found.score_auroc_within, found.verifier_accuracy),
        "likelihood": (found.likelihood_auroc, found.likelihood_auroc_within, found.likeliest_accuracy),
        "difference": (found.auroc_gain, found.auroc_gain_within, found.score_gain),
    }
    return pd.DataFrame(
        [
            {"by": name, **within.columns("auroc_within"), **pooled.columns("auroc"), **best.columns("best_of_n")}
            for name, (pooled, within, best) in rows.items()
        ]
    )


def mixed(correct: Array) -> Mask:
    """Which prompts have right and wrong responses, (P,), from (P, N): choosing can matter in these alone."""
    return np.asarray(np.ptp(correct, axis=1) > 0)


def varied(scores: Array, unparsed: Array | None = None) -> Array:
    """Whether the responses of a prompt have different scores, 0 or 1, (P,), from (P, N); those none of whose verdicts
    could be read, an `unparsed` share of 1, have no score."""
    read = np.ones(scores.shape, dtype=bool) if unparsed is None else unparsed < 1
    highest, lowest = np.where(read, scores, -np.inf).max(axis=1), np.where(read, scores, np.inf).min(axis=1)
    differ: Array = (highest - lowest > _SAME).astype(np.float64)
    return differ
