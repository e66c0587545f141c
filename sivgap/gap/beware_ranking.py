"""What a reader should beware of in how a verifier ranks responses, against the likelihood, which costs nothing."""

from __future__ import annotations

from collections.abc import Iterator

from sivgap.gap.rival import Rival

_CHANCE = 0.5
"""AUROC of a score that says nothing."""


def of_ranking(found: Rival, samples: int, another: str) -> Iterator[str]:
    """Where it is beyond its error: the verifier harms, knows prompts rather than responses, or ranks worse.

    `samples` is N; `another` is what to do about it.
    """
    score, likelihood, pooled = found.score_auroc_within, found.likelihood_auroc_within, found.score_auroc
    if found.score_gain.high is not None and found.score_gain.high < 0:
        yield (
            f"best of {samples} by the verifier is right in {found.verifier_accuracy.value:.1%}, the likeliest of "
            f"{samples} in {found.likeliest_accuracy.value:.1%}: the verifier harms; {another}"
        )
        return
    low, high, easy = score.low, score.high, pooled.low
    if low is not None and high is not None and easy is not None and low <= _CHANCE <= high < easy:
        yield (
            f"the AUROC of the score, {pooled.value:.2f} over all responses, is of which prompts are easy: within "
            f"prompts it is {score.value:.2f} (90 %: {low:.2f} to {high:.2f}), and best of N depends on that alone; "
            f"{another}"
        )
        return
    gain = found.auroc_gain_within
    if gain.high is not None and gain.high < 0 and (found.score_gain.value or 0) <= 0:
        yield (
            "the verifier ranks a prompt's responses worse than the likelihood (AUROC within prompts "
            f"{score.value:.2f} against {likelihood.value:.2f}), and adds nothing to it; {another}"
        )
