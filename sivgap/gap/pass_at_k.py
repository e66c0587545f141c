"""pass@k: the chance that one of k responses is right, estimated without bias from n (Chen et al. 2021)."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

from sivgap.gap.estimate import UNDEFINED, Array, Estimate, proportion


def pass_at_k(successes: Array, n: int, k: int) -> Array:
    """The unbiased estimator 1 - C(n-c, k) / C(n, k) for c successes of n (Chen et al. 2021). Needs k <= n."""
    failures = n - successes
    possible = failures >= k
    safe = np.where(possible, failures, n)
    log_none = gammaln(safe + 1) - gammaln(safe - k + 1) - gammaln(n + 1) + gammaln(n - k + 1)
    none = np.where(possible, np.exp(log_none), 0.0)
    return np.where(successes == 0, 0.0, 1.0 - none)  # of a sum of logarithms a 0 may come out as -4e-18


def mean_pass_at_k(correct: Array, k: int) -> Estimate:
    """pass@k over the prompts of `correct` (P, N), 0 or 1; undefined for k > N."""
    n = correct.shape[1]
    return proportion(pass_at_k(correct.sum(axis=1), n, k), n // k) if k <= n else UNDEFINED
