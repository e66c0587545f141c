"""``python -m sivgap.allocate fit=fits/NAME/fit.json budget=0.25 horizon=10``: when to give external data.

Reads the fit of runs that were given external data (it has gamma), finds the best schedule of the budget under the
fitted model, and sets it beside the paper's early, uniform and late. Writes ``allocation.json`` and
``figures/allocation.png`` beside the fit. Imports neither torch nor transformers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from sivgap.config.app import run_app
from sivgap.config.settings import Settings
from sivgap.errors import ConfigError, RunError

if TYPE_CHECKING:
    from sivgap.dynamics.allocation import Plan
    from sivgap.dynamics.closed_form import Array, Coupled


class AllocateConfig(Settings):
    """A budget, and the fitted model to spend it under."""

    fit: str
    """``fit.json`` of a fit."""
    budget: float = Field(gt=0, le=1)
    """H: share of the prompts that get an external response."""
    horizon: int = Field(ge=1, le=200)
    """Epoch at which U_s is to be lowest."""
    gamma: float | None = Field(default=None, gt=0)
    """Effect of external data on the verifier; null takes the fit's, which only runs with external data have."""
    form: Literal["inverse", "linear", "additive"] | None = None
    """How external data acts (THEORY section 3); null takes the fit's, or the paper's ``inverse`` with ``gamma=``."""


def main() -> None:
    run_app("allocate", AllocateConfig, allocate)


def allocate(config: AllocateConfig) -> None:
    """Find and compare schedules; prints the path of ``allocation.json``.

    Raises:
        ConfigError: If there is no such fit, or it has no gamma and none is given.
        RunError: If the fit cannot be read.
    """
    from sivgap.dynamics.allocation import compare
    from sivgap.report.allocation_figure import draw_allocation
    from sivgap.runtime.display import Display
    from sivgap.runtime.files import write_json

    path = Path(config.fit)
    law, gamma, form, draws, intervals_of = _model(config, path)
    display = Display()
    with display.phase("allocating", 1, "schedules") as advance:
        plans = compare(law, gamma, form, config.budget, config.horizon, draws)  # type: ignore[arg-type]
        advance(1, 0)
    out = path.parent / "allocation.json"
    write_json(out, {"budget": config.budget, "horizon": config.horizon, "gamma": gamma, "form": form,
                     "plans": [_plan_json(plan) for plan in plans]}, out.parent)  # fmt: skip
    picture = path.parent / "figures" / "allocation.png"
    draw_allocation(plans, law, gamma, form, picture)  # type: ignore[arg-type]
    _print(plans, display, intervals_of)
    if plans[0].solver[0] < 0:
        display.say(
            f"beware: the model predicts U_s = {plans[0].solver[0]:.3f}, which an uncertainty cannot be; this budget, "
            "horizon and gamma are outside of what the model can say"
        )
    schedule = ",".join(f"{share:.4f}" for share in plans[0].eta)
    display.say(f"best schedule, a share of the prompts an epoch: [{schedule}]")
    display.say(
        f"to run it: python -m sivgap.train cross.strategy=custom cross.budget={config.budget:g} cross.schedule={out}"
    )
    display.say(f"picture: {picture}")
    print(out)


def _model(config: AllocateConfig, path: Path) -> tuple[Coupled, float, str, tuple[Coupled, Array] | None, str]:
    """The law, gamma, its form, parameter sets drawn from the fit, and what these are of."""
    import numpy as np

    from sivgap.dynamics.closed_form import Coupled
    from sivgap.dynamics.cross import FORMS
    from sivgap.dynamics.cross_fit import laws_of
    from sivgap.dynamics.fit import PARAMETERS
    from sivgap.runtime.read import read_json

    if not path.is_file():
        raise ConfigError(f"fit={path}: no such file; python -m sivgap.fit makes one")
    try:
        found = read_json(path, path.parent)
        values = {name: float(entry["value"]) for name, entry in found["coupled"]["parameters"].items()}
        law = Coupled(*(values[name] for name in PARAMETERS))
        cross = found.get("cross") or {}
        drawn = np.array(cross.get("draws") or [], dtype=np.float64)
        intervals_of = str((found["coupled"].get("intervals") or {}).get("of", "this panel"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{path}: not a fit that can be read ({error}); make it again with python -m sivgap.fit"
        ) from error
    gamma = config.gamma if config.gamma is not None else values.get("gamma")
    if gamma is None:
        raise ConfigError(
            f"fit={path}: its runs were given no external data, so it has no gamma; fit runs with external data "
            "(external_new in their trajectories), or assume a value with gamma="
        )
    form = config.form or cross.get("form") or "inverse"
    if form not in FORMS:
        raise RunError(f"{path}: cross.form is {form!r:.40}, expected {', '.join(FORMS)}")
    assumed = config.gamma is not None or form != cross.get("form") or drawn.size == 0
    draws = None if assumed else laws_of(drawn)
    return law, gamma, form, draws, intervals_of


def _plan_json(plan: Plan) -> dict[str, Any]:
    def numbers(triple: tuple[float, float | None, float | None]) -> dict[str, float | None]:
        return dict(zip(("value", "low", "high"), triple, strict=True))

    return {
        "name": plan.name,
        "eta": plan.eta.tolist(),
        "solver": numbers(plan.solver),
        "verifier": numbers(plan.verifier),
        "excess_over_best": numbers(plan.excess),
    }


def _print(plans: list[Plan], display: Any, intervals_of: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    from sivgap.runtime.sanitize import sanitize

    title = f"end of epoch {len(plans[0].eta)}; intervals of: {escape(sanitize(intervals_of))}"
    table = Table(title=title, title_justify="left")
    for column in ("schedule", "U_s (nats)", "90 % interval", "above the best", "90 % interval "):
        table.add_column(column, justify="left" if column == "schedule" else "right")
    for plan in plans:
        cells = []
        for value, low, high in (plan.solver, plan.excess):
            cells += [f"{value:.4f}", "?" if low is None or high is None else f"{low:.4f} to {high:.4f}"]
        table.add_row(plan.name, *cells)
    display.console.print(table)


if __name__ == "__main__":
    main()
