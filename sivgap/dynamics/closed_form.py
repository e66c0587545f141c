"""The exponential law of self-improvement in closed form (SV Eq. 9-13, Prop. 3.1; THEORY section 2).

    dU_s/dt = -alpha E,   dU_v/dt = -beta E,   E = k G - b,   G = U_s - U_v

with r = k (alpha - beta), rho = beta / alpha, G_inf = b / k and delta = G_0 - G_inf has the solution

    G(t)   = G_inf + delta exp(-r t)
    U_s(t) = U_s0 - delta       / (1 - rho) (1 - exp(-r t))
    U_v(t) = U_v0 - delta rho   / (1 - rho) (1 - exp(-r t))

The curves depend on five numbers only; alpha, beta, k and b are not identifiable one by one, since
(c alpha, c beta, k/c, b/c) leaves everything that can be seen unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Curve = Literal["solver", "verifier", "gap"]


@dataclass(frozen=True)
class Rates:
    """The parameters of the differential equations, in one gauge (THEORY section 2, identifiability)."""

    alpha: float
    beta: float
    k: float
    b: float


@dataclass(frozen=True)
class Coupled:
    """The five identifiable parameters: nats, a continuous `rate` per epoch, and rho = beta / alpha.

    Each may be a number or an array of shape S, one entry a parameter set; curves at times of shape (T,) then have
    shape S + (T,).
    """

    solver_initial: ArrayLike
    verifier_initial: ArrayLike
    gap_limit: ArrayLike
    rate: ArrayLike
    beta_over_alpha: ArrayLike

    @classmethod
    def from_rates(cls, rates: Rates, solver_initial: ArrayLike, verifier_initial: ArrayLike) -> Coupled:
        """The law of the differential equations with `rates`, in any gauge."""
        rate = rates.k * (rates.alpha - rates.beta)
        return cls(solver_initial, verifier_initial, rates.b / rates.k, rate, rates.beta / rates.alpha)

    def rates(self) -> Rates:
        """alpha, beta, k and b in the gauge k = 1 (for a single parameter set)."""
        ratio = float(_array(self.beta_over_alpha))
        alpha = float(_array(self.rate)) / (1 - ratio)
        return Rates(alpha, alpha * ratio, 1.0, float(_array(self.gap_limit)))

    @property
    def falls(self) -> tuple[Array, Array, Array]:
        """How far solver, verifier and gap fall from their start to their limit, nats."""
        ratio = _array(self.beta_over_alpha)
        gap = _array(self.solver_initial) - _array(self.verifier_initial) - _array(self.gap_limit)
        return gap / (1 - ratio), ratio * gap / (1 - ratio), gap

    @property
    def limits(self) -> tuple[Array, Array, Array]:
        """U_s, U_v and G as t grows without end (for a positive rate; SV Prop. 3.1)."""
        solver, gap = _array(self.solver_initial) - self.falls[0], _array(self.gap_limit)
        return solver, solver - gap, gap

    def solver(self, t: ArrayLike) -> Array:
        """U_s at epochs `t`."""
        return self._at(t, self.solver_initial, self.falls[0])

    def verifier(self, t: ArrayLike) -> Array:
        """U_v at epochs `t`."""
        return self._at(t, self.verifier_initial, self.falls[1])

    def gap(self, t: ArrayLike) -> Array:
        """G = U_s - U_v at epochs `t`."""
        return self._at(t, _array(self.solver_initial) - _array(self.verifier_initial), self.falls[2])

    def conserved(self, t: ArrayLike) -> Array:
        """Q / alpha = U_v - rho U_s at epochs `t`: the same at all of them (THEORY section 2, conserved quantity)."""
        ratio = self.beta_over_alpha
        return self.verifier(t) - _beside(ratio, t) * self.solver(t)

    def limit_sensitivity(self, fixed: Literal["solver", "verifier"]) -> Array:
        """SV Cor. 3.1: d U_s,inf / d G_0, which is also d U_v,inf / d G_0.

        The two readings: a larger initial gap by a better verifier (the solver's start `fixed`), -1 / (1 - rho), or by
        a worse solver (the verifier's start `fixed`), -rho / (1 - rho).
        """
        ratio = _array(self.beta_over_alpha)
        return -(1.0 if fixed == "solver" else ratio) / (1 - ratio)

    def time_to_limit(self, epsilon: float, curve: Curve = "gap") -> Array:
        """SV Cor. 3.2: epochs until a curve is within `epsilon` nats of its limit; 0 if it starts there."""
        fall = np.abs(self.falls[("solver", "verifier", "gap").index(curve)])
        with np.errstate(divide="ignore"):
            return np.asarray(np.maximum(np.log(fall / epsilon), 0.0) / _array(self.rate))

    def _at(self, t: ArrayLike, start: ArrayLike, fall: Array) -> Array:
        done = _array(np.expm1(-np.multiply.outer(_array(self.rate), _array(t))))
        return _array(_beside(start, t) + _beside(fall, t) * done)


def _beside(value: ArrayLike, t: ArrayLike) -> Array:
    """`value` of shape S with an axis of length one for each of `t`'s."""
    array = _array(value)
    return array.reshape(array.shape + (1,) * np.ndim(t))


def _array(value: ArrayLike) -> Array:
    return np.asarray(value, dtype=np.float64)
