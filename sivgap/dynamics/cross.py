"""Cross-improvement: external data changes the verifier when it arrives (SV Eq. 14-20, Prop. 5.1; THEORY section 3).

With eta_t the share of prompts that get an external response in epoch t, x_t = (U_s - b/k, U_v) and

    x_{t+1} = A D_t x_t,      A = I + k [[-alpha, alpha], [-beta, beta]]

the effect D_t of data on the verifier has three forms:

    inverse    U_v -> U_v / (1 + gamma eta)      the paper's
    linear     U_v -> U_v (1 - gamma eta)
    additive   U_v -> U_v - gamma eta            beyond the paper: affine, no matrix

A is the unit-step map of the coupled equations. Between arrivals the state follows the continuous law whose unit-step
map A is, so curves exist at every epoch, half ones included, and agree with the recurrence at whole ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from scipy.linalg import expm

from sivgap.dynamics.closed_form import Array, Coupled, Rates

Form = Literal["inverse", "linear", "additive"]
FORMS: tuple[Form, ...] = get_args(Form)

Arrivals = Sequence[tuple[float, float]]
"""When external data comes, ascending: (epoch, eta)."""


def effect(verifier: Array, eta: Array | float, gamma: Array | float, form: Form) -> Array:
    """U_v just after data of share `eta` has come."""
    if form == "inverse":
        return verifier / (1 + gamma * eta)
    if form == "linear":
        return verifier * (1 - gamma * eta)
    return verifier - gamma * eta


def curves(law: Coupled, gamma: Array | float, form: Form, arrivals: Arrivals, t: Array) -> tuple[Array, Array]:
    """U_s and U_v at the ascending epochs `t` (T,), exactly, for parameter sets of shape S: each S + (T,).

    A value at the very epoch of an arrival is the one just before it: a measurement precedes the epoch's data.
    """
    solver, verifier, now = np.asarray(law.solver_initial), np.asarray(law.verifier_initial), 0.0
    pieces_s, pieces_v = [], []
    edges = [*(epoch for epoch, _ in arrivals), np.inf]
    for i, end in enumerate(edges):
        begin = edges[i - 1] if i else -np.inf
        inside = t[(t > begin) & (t <= end)]
        current = Coupled(solver, verifier, law.gap_limit, law.rate, law.beta_over_alpha)
        pieces_s.append(current.solver(inside - now))
        pieces_v.append(current.verifier(inside - now))
        if i < len(arrivals):
            span, eta = end - now, arrivals[i][1]
            solver, verifier = current.solver(span), effect(current.verifier(span), eta, gamma, form)
            now = end
    return np.concatenate(pieces_s, axis=-1), np.concatenate(pieces_v, axis=-1)


def recurrence(start: tuple[float, float], rates: Rates, gamma: float, form: Form, eta: Array) -> tuple[Array, Array]:
    """U_s and U_v at epochs 0 .. len(eta) by the ordered product itself (SV Eq. 19)."""
    step = np.eye(2) + _generator(rates)
    shift = np.array([rates.b / rates.k, 0.0])
    states = [np.array(start) - shift]
    for share in eta:
        state = states[-1].copy()
        state[1] = effect(state[1], share, gamma, form)
        states.append(step @ state)
    path = np.array(states) + shift
    return path[:, 0], path[:, 1]


def order_free(
    start: tuple[float, float], rates: Rates, gamma: float, total: float, epochs: float
) -> tuple[float, float]:
    """SV Prop. 5.1's approximation of the end state, expm(T K - gamma H P) x_0: it sees the total H alone.

    It is crude (THEORY section 3 has a case); use it to see how crude, never to fit.
    """
    shift = np.array([rates.b / rates.k, 0.0])
    end = expm(epochs * _generator(rates) - gamma * total * np.diag([0.0, 1.0])) @ (np.array(start) - shift) + shift
    return float(end[0]), float(end[1])


def additive_limit(law: Coupled, gamma: float, total: float) -> tuple[float, float]:
    """U_s and U_v at the end of time under the additive form: the same for every timing of `total` (THEORY section 3).

    Q / alpha = U_v - rho U_s falls by gamma eta with each arrival, and G still goes to b / k.
    """
    ratio = float(np.asarray(law.beta_over_alpha))
    left = float(np.asarray(law.verifier_initial) - ratio * np.asarray(law.solver_initial)) - gamma * total
    solver = (left + float(np.asarray(law.gap_limit))) / (1 - ratio)
    return solver, solver - float(np.asarray(law.gap_limit))


def _generator(rates: Rates) -> Array:
    return rates.k * np.array([[-rates.alpha, rates.alpha], [-rates.beta, rates.beta]])
