"""Verifiers together: a response is kept if all keep it (MG Table 7), or their scores are combined into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit

from sivgap.errors import ConfigError
from sivgap.gap.auroc import auroc_estimate, auroc_within
from sivgap.gap.estimate import Array, Estimate, Mask, proportion, share
from sivgap.gap.gap import Fallback, aggregate_relative_gap, gap, relative_gap
from sivgap.gap.weights import Weight, weigh

MOST_VERIFIERS = 12
"""Of a table of all subsets: twelve have 4,095."""

PENALTY = 1.0
"""On half the sum of squared coefficients, beside the log loss summed over responses: keeps separable halves finite."""


def all_agree(weights: Sequence[Array]) -> Array:
    """The product of the verifiers' weights, (P, N) each: with thresholds their logical AND."""
    return np.prod(np.stack(weights), axis=0)  # type: ignore[no-any-return]


def subset_table(
    utility: Array,
    scores: Mapping[str, Array],
    weights: Mapping[str, Weight],
    fallback: Fallback = "all",
    unparsed: Mapping[str, Array] | None = None,
) -> pd.DataFrame:
    """Every subset of verifiers that must agree, small ones first.

    Args:
        utility: 0 or 1, (P, N).
        scores: (P, N) of each verifier.
        weights: Each one's own filter.
        fallback: As in `sivgap.gap.gap.gap`; the larger the subset, the more prompts keep nothing.
        unparsed: Share of each score's verdicts that could not be read, (P, N) of each verifier.

    Returns:
        Columns verifiers ("a & b"), size, true_positive_rate, false_positive_rate, kept (mean weight), accuracy,
        gv_gap, gv_gap_aggregate_relative, gv_gap_relative, all with _se, _low, _high; the counts of `Gap.columns`.
    """
    if len(scores) > MOST_VERIFIERS:
        raise ConfigError(f"All subsets of {len(scores)} verifiers are too many; name at most {MOST_VERIFIERS}.")
    unread = unparsed or {}
    kept_by = {name: weigh(values, weights[name], unread.get(name)) for name, values in scores.items()}
    rows = []
    for size in range(1, len(scores) + 1):
        for members in combinations(scores, size):
            kept = all_agree([kept_by[name] for name in members])
            rows.append({"verifiers": " & ".join(members), "size": size, **_columns(utility, kept, fallback)})
    return pd.DataFrame(rows)


def combination_table(
    utility: Array, scores: Mapping[str, Array], weight: Weight, fallback: Fallback = "all", seed: int = 0
) -> pd.DataFrame:
    """Each verifier alone, the average of their scores, and their scores combined by `learned_scores`.

    All are filtered by `weight`. Learned scores are chances of being right: a threshold means another thing for them
    than for a verifier's scores, a `Quantile` the same. Columns as `subset_table`, with score for
    verifiers, auroc_within and auroc.
    """
    tried = {**scores, "average": np.mean(np.stack(list(scores.values())), axis=0)}
    tried["learned"] = learned_scores(utility, scores, seed)
    return pd.DataFrame(
        [
            {
                "score": name,
                **_columns(utility, weigh(values, weight), fallback),
                **auroc_within(values, utility).columns("auroc_within"),
                **auroc_estimate(values, utility).columns("auroc"),
            }
            for name, values in tried.items()
        ]
    )


def learned_scores(utility: Array, scores: Mapping[str, Array], seed: int = 0) -> Array:
    """Chance of being right by logistic regression on all scores, (P, N), fitted on other prompts than it is used on.

    Prompts are cut at random into halves, and each half is scored by the regression of the other. The two regressions
    make prompts of a half slightly dependent, which standard errors over prompts leave out.
    """
    features = np.stack(list(scores.values()), axis=-1)
    second = np.random.default_rng(seed).permutation(len(utility)) >= len(utility) // 2
    if second.all() or not second.any():
        raise ConfigError("Weights of verifiers are learned on other prompts than they are used on; give two at least.")
    learned = np.empty_like(utility, dtype=np.float64)
    for half in (second, ~second):
        constant, *slopes = fit_logistic(features[~half].reshape(-1, features.shape[-1]), utility[~half].ravel())
        learned[half] = expit(constant + features[half] @ np.array(slopes))
    return learned


def fit_logistic(features: Array, correct: Array) -> Array:
    """Constant and slopes, (V + 1,), of `correct` (K,) on `features` (K, V), slopes penalised by `PENALTY`."""
    design = np.column_stack([np.ones(len(features)), features])

    def loss(coefficients: Array) -> tuple[float, Array]:
        linear = design @ coefficients
        shrink = PENALTY * np.concatenate([[0.0], coefficients[1:]])
        value = np.logaddexp(0, linear).sum() - correct @ linear + shrink @ coefficients / 2
        return float(value), design.T @ (expit(linear) - correct) + shrink

    found: Array = minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B").x
    return found


def keeping_rate(kept: Array, among: Mask) -> Estimate:
    """Share that is kept of the responses `among`, both (P, N): the true or the false positive rate."""
    return share((kept * among).sum(axis=1), among.sum(axis=1).astype(np.float64))


def _columns(utility: Array, kept: Array, fallback: Fallback) -> dict[str, float | int | None]:
    return {
        **gap(utility, kept, fallback).columns("gv_gap"),
        **aggregate_relative_gap(utility, kept, fallback).columns("gv_gap_aggregate_relative"),
        **relative_gap(utility, kept, fallback).estimate.columns("gv_gap_relative"),
        **proportion(kept.mean(axis=1), utility.shape[1]).columns("kept"),
        **keeping_rate(kept, utility == 1).columns("true_positive_rate"),
        **keeping_rate(kept, utility == 0).columns("false_positive_rate"),
    }
