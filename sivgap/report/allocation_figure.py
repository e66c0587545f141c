"""``figures/allocation.png``: schedules, and the curves that the fitted model predicts for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from sivgap.dynamics.allocation import Plan
from sivgap.dynamics.closed_form import Coupled
from sivgap.dynamics.cross import Form, curves
from sivgap.report.figures import save

_COLOURS = {"best": "#000000", "none": "#999999", "early": "#0072B2", "uniform": "#009E73", "late": "#D55E00"}


def draw_allocation(plans: Sequence[Plan], law: Coupled, gamma: float, form: Form, path: Path) -> None:
    """Left: who gets data when. Right: U_s under each schedule."""
    horizon = len(plans[0].eta)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    t = np.linspace(0, horizon, 40 * horizon + 1)
    given = [plan for plan in plans if plan.eta.sum() > 0]
    for i, plan in enumerate(given):
        width = 0.8 / len(given)
        place = 0.1 + width / 2 + np.arange(horizon) + i * width
        left.bar(place, plan.eta, width, color=_COLOURS[plan.name], label=plan.name)
    for plan in plans:
        arrivals = [(float(when), float(eta)) for when, eta in enumerate(plan.eta) if eta > 0]
        solver = curves(law, gamma, form, arrivals, t)[0]
        label = f"{plan.name}, ends at {plan.solver[0]:.3f}"
        right.plot(t, solver, color=_COLOURS[plan.name], label=label, linewidth=2 if plan.name == "best" else 1)
    left.set_ylabel("share of prompts given external data")
    left.set_xlabel("epoch")
    right.set_ylabel("solver uncertainty $U_s$ (nats)")
    right.set_xlabel("epoch")
    for axis in (left, right):
        axis.legend(frameon=False, fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"external data, {form} effect, gamma {gamma:.3g}", fontsize=11)
    save(figure, path)
