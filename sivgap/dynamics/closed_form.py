"""The exponential law of self-improvement in closed form (SV Eq. 9-13, Prop. 3.1; THEORY section 2).

    G(t)   = G_inf + delta exp(-r t)                               delta = G_0 - G_inf
    U_s(t) = U_s0 - delta       / (1 - rho) (1 - exp(-r t))
    U_v(t) = U_v0 - delta rho   / (1 - rho) (1 - exp(-r t))

The curves depend on five numbers only; alpha, beta, k and b of the differential equations are not identifiable one by
one (scaling them as (c alpha, c beta, k/c, b/c) changes nothing that can be seen).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Coupled:
    """The five identifiable parameters: nats, a continuous `rate` per epoch, and rho = beta / alpha."""

    solver_initial: float
    verifier_initial: float
    gap_limit: float
    rate: float
    beta_over_alpha: float

    @property
    def _amplitude(self) -> float:
        """Total fall of the solver, delta / (1 - rho)."""
        return (self.solver_initial - self.verifier_initial - self.gap_limit) / (1 - self.beta_over_alpha)

    def solver(self, t: Array) -> Array:
        """U_s at epochs `t`."""
        return self.solver_initial + self._amplitude * np.expm1(-self.rate * t)

    def verifier(self, t: Array) -> Array:
        """U_v at epochs `t`."""
        return self.verifier_initial + self.beta_over_alpha * self._amplitude * np.expm1(-self.rate * t)

    def gap(self, t: Array) -> Array:
        """G = U_s - U_v at epochs `t`."""
        return self.solver(t) - self.verifier(t)

    @property
    def limits(self) -> tuple[float, float, float]:
        """U_s, U_v and G as t grows without end (for a positive rate)."""
        solver = self.solver_initial - self._amplitude
        return solver, solver - self.gap_limit, self.gap_limit
