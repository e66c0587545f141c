"""Youden's J of a verifier: how much likelier it accepts a right response than a wrong one.

J = TPR - FPR decides what training on accepted responses teaches (2601.04411): above 0 the model learns, at 0 it
drifts, below 0 it is taught the wrong. Unlike the AUROC it is of the filter that training uses, threshold included.
"""

from __future__ import annotations

from sivgap.gap.estimate import UNDEFINED, Array, Estimate, from_influence


def youden(kept: Array, correct: Array) -> Estimate:
    """J with its standard error over prompts, of weights `kept` in [0, 1] and whether responses are right, (P, N).

    The error is that of a difference of two ratios of sums by prompt (delta method). Undefined where all responses are
    right, or all wrong.
    """
    parts = []
    for among in (correct == 1, correct != 1):
        weight = among.sum(axis=1)
        if not weight.sum():
            return UNDEFINED
        rate = float(kept[among].mean())
        parts.append((rate, ((kept * among).sum(axis=1) - rate * weight) / weight.mean()))
    (tpr, of_right), (fpr, of_wrong) = parts
    influence = of_right - of_wrong
    return from_influence(tpr - fpr, influence)
