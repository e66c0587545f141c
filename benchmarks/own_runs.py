"""Forecasts of our own runs: the error of each forecaster on what it had not seen, over seeds of the embedded default.

    python benchmarks/own_runs.py [--seeds 0 1 2 ... 9]

As the table of THEORY section 5 for the paper's curves: root mean square in % of the curve's range, mean over solver
and verifier of all seeds, seen to 30, 50 and 75 % of the run. Writes benchmarks/results/own_runs.md and .json.
"""

import argparse
import json

import numpy as np
from study import RESULTS, held_out, run

from sivgap.dynamics.forecast import FORECASTERS, forecast
from sivgap.report.tables import markdown
from sivgap.report.trajectory_figure import column

SHARES = (0.3, 0.5, 0.75)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--runs-dir", default="runs")
    a = parser.parse_args()
    errors: dict[float, dict[str, list[float]]] = {share: {name: [] for name in FORECASTERS} for share in SHARES}
    held: dict[float, list[float]] = {share: [] for share in SHARES}
    for seed in a.seeds:
        lines = held_out(run(f"seed={seed}", runs_dir=a.runs_dir))
        t = column(lines, "epoch")
        curves = np.stack([column(lines, "solver_uncertainty_all"), column(lines, "verifier_uncertainty")])
        for share in SHARES:
            n = round(share * len(t))
            for name, forecaster in FORECASTERS.items():
                said = forecaster(t[:n], curves[None, :, :n], t[n:])[0]
                rmse = np.sqrt(np.mean((said - curves[:, n:]) ** 2, axis=1))
                errors[share][name] += list(100 * rmse / np.ptp(curves, axis=1))
            interval = forecast(t[:n], curves[None, :, :n], t[n:])
            inside = (curves[:, n:] >= interval.low[0, :2]) & (curves[:, n:] <= interval.high[0, :2])
            held[share] += list(inside.mean(axis=1))
    rows = [
        [
            f"{share:.0%}",
            *(f"{np.mean(errors[share][name]):.1f}" for name in FORECASTERS),
            f"{np.mean(held[share]):.2f}",
        ]
        for share in SHARES
    ]
    table = markdown(["seen", *FORECASTERS, "coverage of 90 %"], rows)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "own_runs.json").write_text(json.dumps({str(k): v for k, v in errors.items()}, indent=1) + "\n")
    (RESULTS / "own_runs.md").write_text(f"# Forecasts of the default run, {len(a.seeds)} seeds\n\n{table}")
    print(table)


if __name__ == "__main__":
    main()
