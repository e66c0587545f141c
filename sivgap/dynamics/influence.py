"""How the fitted law answers to the mean curves: derivatives of its parameters, exact, for many data sets at once.

The estimate is a function of the mean curves, so what one prompt adds to it is its own curves times these derivatives
(the infinitesimal jackknife). Residuals are part of the second derivatives: the law need not be true.
"""

from __future__ import annotations

import numpy as np

from sivgap.dynamics.closed_form import Array
from sivgap.dynamics.projection import Projected


def derivatives(epoch: Array, curves: Array, found: Projected, weights: Array | None = None) -> tuple[Array, ...]:
    """Of start, fall and log rate by every point of the curves.

    Args:
        epoch: (T,). curves: (B, C, T). found: Their projection. weights: (C, T), as in `project`.

    Returns:
        start (B, C, C, T), fall (B, C, C, T) and log rate (B, C, T): entry [b, i, c, t] is the derivative of curve i's
        start by the point t of curve c.
    """
    sets, count, points = curves.shape
    weight = np.ones((count, points)) if weights is None else weights
    rate = found.rate[:, None]
    left = np.exp(-rate * epoch)  # (B, T)
    slope = -epoch * left
    jacobian = np.zeros((sets, count, points, 2 * count + 1))
    for c in range(count):
        jacobian[:, c, :, 2 * c] = 1.0
        jacobian[:, c, :, 2 * c + 1] = left - 1
        jacobian[:, c, :, -1] = found.fall[:, c, None] * slope
    hessian = np.einsum("bctk,ct,bctl->bkl", jacobian, weight, jacobian, optimize=True)
    residual = weight * (curves - found.start[..., None] - found.fall[..., None] * (left - 1)[:, None])
    for c in range(count):
        mixed = (residual[:, c] * slope).sum(axis=1)
        hessian[:, 2 * c + 1, -1] -= mixed
        hessian[:, -1, 2 * c + 1] -= mixed
        hessian[:, -1, -1] -= (residual[:, c] * found.fall[:, c, None] * epoch**2 * left).sum(axis=1)
    pull = np.moveaxis(jacobian * weight[..., None], 3, 1).reshape(sets, 2 * count + 1, count * points)
    answer = (np.linalg.pinv(hessian) @ pull).reshape(sets, 2 * count + 1, count, points)
    return answer[:, 0:-1:2], answer[:, 1:-1:2], answer[:, -1] / rate[..., None]
