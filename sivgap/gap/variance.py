"""Where the variance of a verdict lies, and what more verifications bring (MG: 64 of each of 8 responses).

verdict = mean + prompt + response of the prompt + repetition, each of the last three with a variance of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from sivgap.errors import ConfigError
from sivgap.gap.ensemble import keeping_rate
from sivgap.gap.estimate import DRAWS, Array, bootstrap, mean
from sivgap.gap.gap import Fallback, gap, informative
from sivgap.gap.over_n import powers_of_two
from sivgap.gap.weights import Weight, weigh

COMPONENTS = ("prompt", "response", "repetition")


def components(verdicts: Array, draws: int = DRAWS, seed: int = 0) -> pd.DataFrame:
    """Variance between prompts, between responses of a prompt, and between repetitions: unbiased, of a nested ANOVA.

    Unbiased estimates of small variances can be negative; they are left so. `share` is a component's part of the sum,
    the variance of one verification of one response of one prompt; that of the repetitions is its noise.

    Args:
        verdicts: Scores of repeated verifications, (P, N, M) with P, N, M >= 2.
        draws: Bootstrap samples of prompts.
        seed: Of the bootstrap.

    Returns:
        Columns component, variance, share, the numbers with _se, _low, _high; a row for each of `COMPONENTS`.
    """
    _need_two_of_each(verdicts)
    estimates = bootstrap(_statistic(verdicts), len(verdicts), draws, seed)
    return pd.DataFrame(
        [
            {"component": name, **estimates[i].columns("variance"), **estimates[3 + i].columns("share")}
            for i, name in enumerate(COMPONENTS)
        ]
    )


def _need_two_of_each(verdicts: Array) -> None:
    if min(verdicts.shape) < 2:
        raise ConfigError(
            f"The verdicts are of {verdicts.shape[0]} prompts x {verdicts.shape[1]} responses x {verdicts.shape[2]} "
            "repetitions; parts of their variance take at least two of each."
        )


def _statistic(verdicts: Array) -> Callable[[Array], Array]:
    """Of how often each prompt counts, (P,): the three components, then the three shares."""
    by_response = verdicts.mean(axis=2)
    by_prompt = by_response.mean(axis=1)
    within_response = verdicts.var(axis=2, ddof=1).mean(axis=1)
    within_prompt = by_response.var(axis=1, ddof=1)
    _, responses, repetitions = verdicts.shape

    def found(counts: Array) -> Array:
        repetition, of_responses = (np.average(x, weights=counts) for x in (within_response, within_prompt))
        apart = by_prompt - np.average(by_prompt, weights=counts)
        of_prompts = counts @ apart**2 / (counts.sum() - 1)
        parts = [of_prompts - of_responses / responses, of_responses - repetition / repetitions, repetition]
        total = sum(parts)
        return np.array([*parts, *(part / total if total > 0 else np.nan for part in parts)])

    return found


def over_repetitions(
    verdicts: Array, utility: Array, weight: Weight, fallback: Fallback = "all", draws: int = 20, seed: int = 0
) -> pd.DataFrame:
    """The gap and the rates of keeping right and wrong responses, scored by the mean of m verifications of M.

    Each of `draws` times every response gets m of its M verdicts at random, without replacement; results are averaged
    over draws by prompt, errors are over prompts. At m = M there is nothing to draw.

    Args:
        verdicts: (P, N, M) with P, N, M >= 2.
        utility: 0 or 1, (P, N).
        weight: What a score is worth; a threshold's mean weights are the true and the false positive rate.
        fallback: As in `sivgap.gap.gap.gap`; with "drop" a prompt counts in the draws that keep something of it.
        draws: Subsamples.
        seed: Of the subsamples.

    Returns:
        Columns m, gv_gap, true_positive_rate, false_positive_rate, these three with _se, _low, _high, empty (share of
        prompts that keep nothing), noise_share (of the repetitions, in the variance between a prompt's scores of m
        verifications; beyond 1 where the estimated variance between responses is negative); one row a power of two up
        to M, and M.
    """
    _need_two_of_each(verdicts)
    rng = np.random.default_rng(seed)
    response, repetition = _statistic(verdicts)(np.ones(len(verdicts)))[1:3]
    largest = verdicts.shape[2]
    shuffled = [rng.permuted(verdicts, axis=2) for _ in range(draws)]
    rows = []
    for m in sorted({*powers_of_two(largest), largest}):
        kept = [weigh(x[:, :, :m].mean(axis=2), weight) for x in (shuffled if m < largest else [verdicts])]
        gaps = [gap(utility, weights, fallback) for weights in kept]
        times = np.sum([g.used for g in gaps], axis=0)
        used = times > 0
        by_prompt = np.sum([g.by_prompt for g in gaps], axis=0)[used] / times[used]
        rates = np.mean(kept, axis=0)
        informs = np.any([informative(utility, weights, fallback) for weights in kept], axis=0)
        between = response + repetition / m
        rows.append(
            {
                "m": m,
                **mean(by_prompt, informs[used]).columns("gv_gap"),
                **keeping_rate(rates, utility == 1).columns("true_positive_rate"),
                **keeping_rate(rates, utility == 0).columns("false_positive_rate"),
                "empty": float(np.mean([g.empty / g.prompts for g in gaps])),
                "noise_share": float(repetition / m / between) if between > 0 else None,
            }
        )
    return pd.DataFrame(rows)
