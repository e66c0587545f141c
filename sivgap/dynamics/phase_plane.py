"""The phase plane: U_v is affine in U_s, for any energy and any schedule of learning rates (THEORY section 6).

    U_v = U_v0 + rho (U_s - U_s0)

The test is the quadratic term of a regression of U_v on U_s. Errors are in both curves, and correlated over epochs: the
derivative of the term by both gives its standard error over prompts (`population`).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import t as student

from sivgap.dynamics.closed_form import Array


def bend(whole: Array, curves: Array, weights: Array | None = None) -> tuple[float, Array, Array]:
    """How far U_v bows away from a line, nats: half the range of U_s is the unit, so it is the depth of the bow.

    Args:
        whole: Solver and verifier, (2, T). curves: The same of resampled prompts, (B, 2, T). weights: Of U_v, (T,).

    Returns:
        The term, that of each of the `curves` (B,), and its derivative by `whole`, (2T,).
    """
    middle, half = float(np.mean([whole[0].min(), whole[0].max()])), float(np.ptp(whole[0])) / 2
    weight = np.ones(whole.shape[1]) if weights is None else weights
    found = _quadratic((whole[None, 0] - middle) / half, whole[None, 1], weight)
    drawn = _quadratic((curves[:, 0] - middle) / half, curves[:, 1], weight)[0][:, 2]
    coefficient, inverse = found[0][0], found[1][0, 2]
    x = (whole[0] - middle) / half
    design = np.stack([np.ones_like(x), x, x**2], axis=1)
    slope = np.stack([np.zeros_like(x), np.ones_like(x), 2 * x], axis=1)
    pull = design @ inverse
    residual = whole[1] - design @ coefficient
    by_solver = ((slope @ inverse) * residual - pull * (slope @ coefficient)) * weight / half
    return float(coefficient[2]), drawn, np.concatenate([by_solver, pull * weight])


def bend_of_points(solver: Array, verifier: Array) -> tuple[float, float | None]:
    """The same term and its p value with independent residuals of U_v alone, for curves without prompts, (T,) each."""
    value, _, slope = bend(np.stack([solver, verifier]), np.empty((0, 2, len(solver))))
    x = (solver - np.mean([solver.min(), solver.max()])) / (np.ptp(solver) / 2)
    freedom = len(x) - 3
    if freedom < 1:
        return value, None
    residual = verifier - np.polyval(np.polyfit(x, verifier, 2), x)
    error = float(np.sqrt((residual**2).sum() / freedom) * np.linalg.norm(slope[len(x) :]))
    return value, float(2 * student.sf(abs(value) / error, freedom)) if error > 0 else None


def _quadratic(x: Array, y: Array, weight: Array) -> tuple[Array, Array]:
    """Coefficients of 1, x, x^2 by least squares, (B, 3), and the inverse of the normal matrix, (B, 3, 3)."""
    design = np.stack([np.ones_like(x), x, x**2], axis=-1)
    weighted = design * weight[:, None]
    inverse = np.linalg.pinv(np.swapaxes(weighted, 1, 2) @ design)
    return np.einsum("bij,btj,bt->bi", inverse, weighted, y, optimize=True), np.asarray(inverse, dtype=np.float64)
