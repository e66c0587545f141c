"""A joint fit beside the direct way, lmfit with scipy's `odeint` inside the residual: same data, same parameters.

    python benchmarks/fit_speed.py [--repeats 20]

Both alternate in one process; medians count. Also times a fit with intervals and 1,000 bootstrap refits. Writes
benchmarks/results/fit_speed.md and .json.
"""

import argparse
import json
import statistics
import time

import lmfit
import numpy as np
from scipy.integrate import odeint
from study import RESULTS

from sivgap.dynamics.bootstrap import over_residuals
from sivgap.dynamics.closed_form import Coupled
from sivgap.dynamics.curves import Curves
from sivgap.dynamics.fit import PARAMETERS, fit_coupled
from sivgap.report.tables import markdown

LAW = Coupled(2.8, 1.2, 0.4, 0.45, 0.4)


def direct(run: Curves) -> dict[str, float]:
    """The coupled equations integrated for every residual, started near the first points as one would."""

    def residual(p: lmfit.Parameters) -> np.ndarray:
        v = p.valuesdict()
        alpha = v["rate"] / (1 - v["beta_over_alpha"])

        def flow(u: np.ndarray, _: float) -> list[float]:
            force = u[0] - u[1] - v["gap_limit"]
            return [-alpha * force, -alpha * v["beta_over_alpha"] * force]

        path = odeint(flow, [v["solver_initial"], v["verifier_initial"]], run.epoch)
        return np.concatenate([path[:, 0] - run.solver, path[:, 1] - run.verifier])

    parameters = lmfit.Parameters()
    parameters.add("solver_initial", run.solver[0])
    parameters.add("verifier_initial", run.verifier[0])
    parameters.add("gap_limit", run.gap[-1])
    parameters.add("rate", 0.3, min=1e-6)
    parameters.add("beta_over_alpha", 0.5, max=0.99)
    found = lmfit.minimize(residual, parameters)
    return found.params.valuesdict()


def seconds(action) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    a = parser.parse_args()
    rng = np.random.default_rng(0)
    t = np.linspace(0, 10, 21)
    noise = 0.01 * rng.standard_normal((2, len(t)))
    run = Curves("simulated", t, LAW.solver(t) + noise[0], LAW.verifier(t) + noise[1])
    mine, theirs = fit_coupled(run, intervals=False), direct(run)
    apart = max(abs(mine.parameters[n].value / theirs[n] - 1) for n in PARAMETERS)
    actions = {
        "fit": lambda: fit_coupled(run, intervals=False),
        "lmfit + odeint": lambda: direct(run),
        "fit with intervals": lambda: fit_coupled(run),
        "1,000 bootstrap refits": lambda: over_residuals(run, mine.residuals[0], mine.law, 1000, 0),
    }
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(a.repeats):
        for name, action in actions.items():
            times[name].append(seconds(action))
    median = {name: statistics.median(values) for name, values in times.items()}
    ratios = {
        "one fit": median["lmfit + odeint"] / median["fit"],
        "a bootstrap refit": 1000 * median["lmfit + odeint"] / median["1,000 bootstrap refits"],
    }
    table = markdown(["", "milliseconds"], [[name, f"{1000 * value:.1f}"] for name, value in median.items()])
    said = (
        f"Against lmfit + odeint, one fit is {ratios['one fit']:.0f} times as fast, a bootstrap refit "
        f"{ratios['a bootstrap refit']:.0f} times; both find the same parameters within {apart:.1e}."
    )
    RESULTS.mkdir(exist_ok=True)
    result = {"seconds": median, "ratios": ratios, "apart": apart}
    (RESULTS / "fit_speed.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "fit_speed.md").write_text(f"# Speed of a fit (21 points, 2 curves)\n\n{said}\n\n{table}")
    print(said, table, sep="\n\n")


if __name__ == "__main__":
    main()
