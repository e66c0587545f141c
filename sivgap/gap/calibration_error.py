"""The expected calibration error without its bias, and with an interval that a calibrated verifier's 0 can lie in.

The plain error, sum over bins of share x |mean score - accuracy|, adds up distances from noisy means: a perfectly
calibrated verifier has one above 0, and resampling prompts adds the noise a second time (beyond MG).

With m the bins' differences and Z their noise (normal, covariance over prompts, all bins together), the plain error is
T(c) = sum |c m + Z| at the unknown c that scales the seen pattern: c = 0 is calibrated, c = 1 as seen. Its quantiles
rise with c, so the estimate is c times the plain error where the plain error is T's median, and the interval's ends are
where it is T's upper and lower 5 % point. Both are 0 where even c = 0 explains what was seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sivgap.dynamics.interval import LEVEL
from sivgap.gap.estimate import Array, Estimate

_MOST = 64.0
"""Times the seen pattern beyond which no end of an interval is looked for."""
_HALVINGS = 30


@dataclass(frozen=True)
class CalibrationError:
    """Attributes:
    estimate: Without the bias, with its 90 % interval over prompts.
    plain: The usual estimate, comparable with published ones of as many responses.
    if_calibrated: What `plain` would be on average, were the verifier calibrated.
    """

    estimate: Estimate
    plain: float
    if_calibrated: float | None


def calibration_error(residuals: Array, responses: int, draws: int, seed: int = 0) -> CalibrationError:
    """From the sums of score - correct, (P, B), of each prompt and bin; `responses` are all, P N.

    Args:
        residuals: (P, B); the bins are taken as given.
        responses: P N.
        draws: Of the noise.
        seed: Of the draws.
    """
    prompts, bins = residuals.shape
    seen = residuals.sum(axis=0) / responses
    plain = float(np.abs(seen).sum())
    if prompts < 2:
        return CalibrationError(Estimate(plain), plain, None)
    covariance = np.atleast_2d(np.cov(residuals, rowvar=False)) * prompts / responses**2
    if not covariance.any():  # every prompt alike: nothing says how others would differ
        return CalibrationError(Estimate(plain), plain, None)
    values, vectors = np.linalg.eigh(covariance)
    spread = vectors * np.sqrt(np.clip(values, 0, None))
    noise = np.random.default_rng(seed).standard_normal((draws, bins)) @ spread.T

    def plain_at(scale: float) -> Array:
        return np.abs(scale * seen + noise).sum(axis=1)  # type: ignore[no-any-return]

    if_calibrated = plain_at(0)
    tail = (1 - LEVEL) / 2
    value, low, high = (plain * _scale(plain_at, plain, q) for q in (0.5, 1 - tail, tail))
    return CalibrationError(
        Estimate(value, float(np.abs(seen + noise).sum(axis=1).std(ddof=1)), low, high),
        plain,
        float(if_calibrated.mean()),
    )


def _scale(plain_at: Callable[[float], Array], plain: float, level: float) -> float:
    """The scale at which `plain` is the `level` quantile; 0 where it is below that everywhere."""
    if plain <= np.quantile(plain_at(0), level):
        return 0.0
    low, high = 0.0, 1.0
    while high < _MOST and np.quantile(plain_at(high), level) < plain:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if np.quantile(plain_at(middle), level) < plain:
            low = middle
        else:
            high = middle
    return high
