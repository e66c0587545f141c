"""Do the intervals hold, is the forecast the best, is the verdict right? Simulated runs whose truth is known.

    python benchmarks/dynamics_study.py [--runs 200] [--fits 200]

Truth: the coupled law, two rates, a power law, or a plateau with a jump; noise of .5, 2 and 5 % of the solver's range;
10, 20 and 40 points, forecast from the first 30, 50 and 75 % to the end. The truths are drawn anew for every run.
Writes benchmarks/results/dynamics_study.md, .json and .png.
"""

import argparse
import json

import matplotlib
import numpy as np
from rich.progress import track

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from study import RESULTS

from sivgap.dynamics.closed_form import Coupled
from sivgap.dynamics.curves import Curves
from sivgap.dynamics.fit import PARAMETERS, fit_coupled
from sivgap.dynamics.forecast import FORECASTERS, forecast
from sivgap.dynamics.verdict import shared_rate_test
from sivgap.report.tables import markdown

TRUTHS = ("coupled law", "two rates", "power law", "plateau with a jump")
NOISES, POINTS, SHARES = (0.005, 0.02, 0.05), (10, 20, 40), (0.3, 0.5, 0.75)
FEWEST = 4
VERIFIER = np.array([1.0, 0.45])[:, None]
"""The verifier's curve has .45 of the solver's height."""


def laws(runs: int, rng: np.random.Generator) -> list[Coupled]:
    """Coupled laws of a run of length 1."""
    rate, solver, verifier = rng.uniform(1.5, 6, runs), rng.uniform(0.05, 0.5, runs), rng.uniform(0.05, 0.5, runs)
    falls = 1 - solver, 0.45 * (1 - verifier)
    return [
        Coupled(1.0, 0.45, 1.0 - f - (0.45 - g), r, g / f) for r, f, g in zip(rate, falls[0], falls[1], strict=True)
    ]


def truth(kind: str, t: np.ndarray, runs: int, rng: np.random.Generator) -> np.ndarray:
    """Curves (runs, 2, T) at times in (0, 1]."""

    def of(low: float, high: float, *shape: int) -> np.ndarray:
        return rng.uniform(low, high, (runs, *(shape or (1, 1))))

    if kind == "coupled law":
        return np.stack([[law.solver(t), law.verifier(t)] for law in laws(runs, rng)])
    if kind == "two rates":
        fast, slow, share, limit = of(4, 15), of(0.5, 3), of(0.2, 0.8, 2, 1), of(0.05, 0.4, 2, 1)
        return VERIFIER * (limit + (1 - limit) * (share * np.exp(-fast * t) + (1 - share) * np.exp(-slow * t)))
    if kind == "power law":
        delay, power, limit = of(0.03, 0.5), of(0.4, 2, 2, 1), of(0, 0.3, 2, 1)
        return VERIFIER * (limit + (1 - limit) * (1 + t / delay) ** -power)
    at, size = of(0.15, 0.9), of(0.05, 0.25)
    return truth("coupled law", t, runs, rng) * (1 - size * (t > at))


def noisy(curves: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    return curves + noise * np.ptp(curves[:, :1], axis=-1, keepdims=True) * rng.standard_normal(curves.shape)


def forecasts(runs: int, rng: np.random.Generator) -> list[dict]:
    """Error and coverage of every cell."""
    cells = [(kind, noise, points) for kind in TRUTHS for noise in NOISES for points in POINTS]
    rows = []
    for kind, noise, points in track(cells, "forecasts", transient=True):
        t = np.arange(1, points + 1) / points
        exact = truth(kind, t, runs, rng)
        seen = noisy(exact, noise, rng)
        spread = np.ptp(exact, axis=-1)
        for share in SHARES:
            n = round(share * points)
            if n < FEWEST:
                continue
            said = forecast(t[:n], seen[..., :n], t[n:])
            later = np.concatenate([seen[..., n:], seen[:, :1, n:] - seen[:, 1:, n:]], axis=1)
            held = (later >= said.low) & (later <= said.high)
            errors = {
                name: float(
                    np.mean(np.sqrt(np.mean((f(t[:n], seen[..., :n], t[n:]) - exact[..., n:]) ** 2, -1)) / spread)
                )
                for name, f in FORECASTERS.items()
            }
            rows.append(
                {"truth": kind, "noise": noise, "points": points, "share": share, "errors": errors,
                 "coverage": held.mean(axis=(0, 2)).tolist()}
            )  # fmt: skip
    return rows


def parameters(fits: int, rng: np.random.Generator) -> list[dict]:
    """Coverage of the 90 % profile intervals, and bias in standard errors, where the coupled law is true."""
    rows = []
    for noise in NOISES:
        for points in POINTS:
            t = np.arange(1, points + 1) / points
            inside = {name: [] for name in (*PARAMETERS, "solver limit", "verifier limit")}
            off = {name: [] for name in inside}
            for law in track(laws(fits, rng), f"fits, noise {noise:.1%}, {points} points", transient=True):
                exact = np.stack([law.solver(t), law.verifier(t)])[None]
                solver, verifier = noisy(exact, noise, rng)[0]
                found = fit_coupled(Curves("simulated", t, solver, verifier))
                limits = {"solver limit": found.limits["solver"], "verifier limit": found.limits["verifier"]}
                true = {"solver limit": float(law.limits[0]), "verifier limit": float(law.limits[1])}
                for name, estimate in {**found.parameters, **limits}.items():
                    value = true[name] if name in true else getattr(law, name)
                    low = -np.inf if estimate.low is None else estimate.low
                    high = np.inf if estimate.high is None else estimate.high
                    inside[name].append(low <= value <= high)
                    off[name].append((estimate.value - value) / estimate.stderr if estimate.stderr else np.nan)
            rows.append(
                {"noise": noise, "points": points,
                 "coverage": {name: float(np.mean(v)) for name, v in inside.items()},
                 "bias": {name: float(np.nanmedian(v)) for name, v in off.items()}}
            )  # fmt: skip
    return rows


def verdicts(runs: int, rng: np.random.Generator) -> list[dict]:
    """How often one shared rate is rejected."""
    rows = []
    for kind in TRUTHS:
        for noise in NOISES:
            for points in POINTS:
                t = np.arange(1, points + 1) / points
                p = shared_rate_test(t, noisy(truth(kind, t, runs, rng), noise, rng))[1]
                rows.append({"truth": kind, "noise": noise, "points": points, "rejected": float(np.mean(p < 0.05))})
    return rows


def mean(rows: list[dict], get, **where) -> float:
    return float(np.mean([get(r) for r in rows if all(r[k] == v for k, v in where.items())]))


def report(said: list[dict], fitted: list[dict], judged: list[dict], a: argparse.Namespace) -> str:
    groups = [("truth", k, k) for k in TRUTHS] + [("noise", n, f"noise {n:.1%}") for n in NOISES]
    groups += [("points", p, f"{p} points") for p in POINTS] + [("share", s, f"{s:.0%} seen") for s in SHARES]
    errors = [
        [label, *(f"{100 * mean(said, lambda r, n=n: r['errors'][n], **{key: value}):.1f}" for n in FORECASTERS)]
        for key, value, label in groups
    ]
    errors.append(["all", *(f"{100 * mean(said, lambda r, n=n: r['errors'][n]):.1f}" for n in FORECASTERS)])
    cover = [
        [label, *(f"{mean(said, lambda r, i=i: r['coverage'][i], **{key: value}):.3f}" for i in range(3))]
        for key, value, label in groups
    ]
    names = list(fitted[0]["coverage"])
    inside = [[f"{r['noise']:.1%}", str(r["points"]), *(f"{r['coverage'][n]:.3f}" for n in names)] for r in fitted]
    bias = [[f"{r['noise']:.1%}", str(r["points"]), *(f"{r['bias'][n]:+.2f}" for n in names)] for r in fitted]
    rejected = [
        [
            kind,
            *(
                f"{mean(judged, lambda r: r['rejected'], truth=kind, noise=n, points=p):.2f}"
                for n in NOISES
                for p in POINTS
            ),
        ]
        for kind in TRUTHS
    ]
    cells = [f"{n:.1%}, {p}" for n in NOISES for p in POINTS]
    return "\n".join(
        [
            f"# The dynamics on simulated runs\n\n{a.runs} runs a cell for forecasts and verdicts, {a.fits} fits a "
            f"cell for parameters; seed {a.seed}.\n",
            "## Error of forecasts, % of the curve's range (root mean square)\n",
            markdown(["", *FORECASTERS], errors),
            "## Coverage of the 90 % forecast intervals (future measurements)\n",
            markdown(["", "U_s", "U_v", "gap"], cover),
            "## Coverage of the 90 % profile intervals of parameters, coupled law true\n",
            markdown(["noise", "points", *names], inside),
            "## Median error in standard errors (bias)\n",
            markdown(["noise", "points", *names], bias),
            "## How often one shared rate is rejected at 5 % (noise, points)\n",
            markdown(["truth", *cells], rejected),
            "The shared rate is true for the coupled law alone, and there it should be rejected 5 times in 100.\n",
        ]
    )


def draw(said: list[dict]) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for kind in TRUTHS:
        for axis, get in zip(
            axes, (lambda r: 100 * r["errors"]["combination"], lambda r: r["coverage"][0]), strict=True
        ):
            axis.plot(SHARES, [mean(said, get, truth=kind, share=s) for s in SHARES], "o-", label=kind)
    axes[0].set_ylabel("error of the default forecast (% of range)")
    axes[1].set_ylabel("coverage of its 90 % interval, U_s")
    axes[1].axhspan(0.85, 0.95, color="#666666", alpha=0.15)
    for axis in axes:
        axis.set_xlabel("share of the run seen")
        axis.legend(frameon=False)
    figure.savefig(RESULTS / "dynamics_study.png", dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--fits", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    rng = np.random.default_rng(a.seed)
    said, judged, fitted = forecasts(a.runs, rng), verdicts(a.runs, rng), parameters(a.fits, rng)
    text = report(said, fitted, judged, a)
    RESULTS.mkdir(exist_ok=True)
    everything = {"forecasts": said, "parameters": fitted, "verdicts": judged}
    (RESULTS / "dynamics_study.json").write_text(json.dumps(everything, indent=1) + "\n")
    (RESULTS / "dynamics_study.md").write_text(text)
    draw(said)
    print(text)


if __name__ == "__main__":
    main()
