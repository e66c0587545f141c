"""The generation-verification gap, estimated from samples: MG Def. 2.1 and 2.2.

    gap(f, g)     = J(f[w(u_g)]) - J(f)
    gap_rel(f, g) = E_x [ (E_{f[w]} u - E_f u) / (U_max - E_f u) ]

With weights 0 and 1 the mean of a prompt's kept responses is unbiased for E_{f[w]} u, given that something is kept;
nothing is with probability (1-p)^N, where p is the chance to keep a response, and then `fallback` decides. Other
weights bring the bias of a self-normalised average, of order 1/N.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sivgap.gap.estimate import Array, Estimate, Mask, mean, proportion, ratio

U_MAX = 1.0
"""The highest utility of a response."""

Fallback = Literal["all", "drop", "zero"]
"""A prompt whose filter keeps nothing: all its responses are kept, so its gap is 0 (SV's rule); it is left out of both
terms; or the filter's answer has utility 0."""

Saturated = Literal["drop", "zero"]
"""A prompt whose sampled responses all have U_max, where the relative gap is 0/0 (or, if nothing is kept and that
counts as utility 0, not finite): left out, or 0."""


@dataclass(frozen=True)
class Gap:
    """A gap, and how many prompts each convention touched.

    Attributes:
        estimate: Mean over the prompts that count; informative are those whose weights and utilities both vary.
        accuracy: J of the filtered responses, over the same prompts.
        prompts: P.
        empty: Prompts whose filter kept nothing, whatever was done with them.
        saturated: Prompts already at U_max.
        used: Prompts that count, (P,).
        by_prompt: Their gaps, (P,); 0 for those that do not count.
    """

    estimate: Estimate
    accuracy: Estimate
    prompts: int
    empty: int
    saturated: int
    used: Mask
    by_prompt: Array

    def columns(self, name: str) -> dict[str, float | int | None]:
        """As columns of a table: the gap, the filtered accuracy, and the counts."""
        return {
            **self.estimate.columns(name),
            **self.accuracy.columns("accuracy"),
            "prompts": self.prompts,
            "used": int(self.used.sum()),
            "empty": self.empty,
            "saturated": self.saturated,
        }


def gap(utility: Array, weights: Array, fallback: Fallback = "all") -> Gap:
    """MG Def. 2.1. `utility` and `weights` (P, N)."""
    used, filtered = _filtered(utility, weights, fallback)
    by_prompt = np.where(used, filtered - utility.mean(axis=1), 0.0)
    return _gap(utility, weights, used, filtered, by_prompt, fallback)


def relative_gap(utility: Array, weights: Array, fallback: Fallback = "all", saturated: Saturated = "drop") -> Gap:
    """MG Def. 2.2, the expectation of the prompts' ratios. `utility` and `weights` (P, N); in (-inf, 1]."""
    used, filtered = _filtered(utility, weights, fallback)
    if saturated == "drop":
        used = used & ~_at_maximum(utility)
    headroom = U_MAX - utility.mean(axis=1)
    relative = np.divide(filtered - utility.mean(axis=1), headroom, out=np.zeros_like(headroom), where=headroom > 0)
    return _gap(utility, weights, used, filtered, np.where(used, relative, 0.0), fallback)


def aggregate_relative_gap(utility: Array, weights: Array, fallback: Fallback = "all") -> Estimate:
    """gap / (U_max - J), the share of all utility still missing that the filter wins. `utility` and `weights` (P, N).

    Beyond MG, whose mean of ratios divides by a headroom that N responses know badly: it is 0 by chance, and a prompt
    with one wrong response of N weighs as much as one with N. Here a prompt weighs by its headroom, none is left out
    for having none, and both parts are averaged before they are divided: as prompts grow, the denominator converges
    to the true headroom whatever N is.
    """
    used, filtered = _filtered(utility, weights, fallback)
    before = utility.mean(axis=1)
    return ratio((filtered - before)[used], (U_MAX - before)[used], informative(utility, weights, fallback)[used])


def informative(utility: Array, weights: Array, fallback: Fallback = "all") -> Mask:
    """Which prompts can have a gap other than 0, (P,): weights and utilities, (P, N), both vary among the responses.

    With fallback "zero" also those whose filter keeps nothing, if one of their responses has a utility.
    """
    varied = (np.ptp(utility, axis=1) > 0) & (np.ptp(weights, axis=1) > 0)
    if fallback == "zero":
        varied |= (weights.sum(axis=1) == 0) & utility.any(axis=1)
    return np.asarray(varied)


def saturated_fraction(utility: Array) -> Estimate:
    """Share of the prompts all of whose responses, (P, N), have U_max: the relative gap of these is 0/0."""
    return proportion(_at_maximum(utility).astype(np.float64))


def _filtered(utility: Array, weights: Array | Mask, fallback: Fallback) -> tuple[Mask, Array]:
    """Which prompts count, (P,), and the mean utility of each one's weighted responses, (P,)."""
    total = weights.sum(axis=1)
    empty = np.asarray(total == 0)
    kept = (utility * weights).sum(axis=1) / np.where(empty, 1, total)
    otherwise = utility.mean(axis=1) if fallback == "all" else np.zeros(len(utility))
    used = ~empty if fallback == "drop" else np.ones_like(empty)
    return used, np.where(empty, otherwise, kept)


def _at_maximum(utility: Array) -> Mask:
    return np.asarray(utility.mean(axis=1) >= U_MAX)


def _gap(utility: Array, weights: Array, used: Mask, filtered: Array, by_prompt: Array, fallback: Fallback) -> Gap:
    return Gap(
        estimate=mean(by_prompt[used], informative(utility, weights, fallback)[used]),
        accuracy=proportion(filtered[used], utility.shape[1]),
        prompts=len(utility),
        empty=int((weights.sum(axis=1) == 0).sum()),
        saturated=int(_at_maximum(utility).sum()),
        used=used,
        by_prompt=by_prompt,
    )
