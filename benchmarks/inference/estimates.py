"""Do the intervals of estimates over prompts hold? Populations whose truth is known; levels of tests are in `levels`.

Each function returns rows (dicts): what is printed, its conditions, the share of runs in which the 90 % interval held
the truth, and the same of the method it replaces (`before`). `study` is all, with the tests' levels. From a shell:

    python -m inference.estimates [--quick]        in benchmarks/: the tables, as Markdown
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import Any

import numpy as np
from inference.levels import gone, strategies
from inference.panels import KEEPS, MANY, SAMPLES, Population, kept
from rich.progress import track
from scipy.special import betaln

from sivgap.gap.auroc import auroc, auroc_estimate, auroc_within
from sivgap.gap.calibration import calibration, equal_count_bins
from sivgap.gap.ensemble import keeping_rate
from sivgap.gap.estimate import Estimate, mean, proportion
from sivgap.gap.gap import aggregate_relative_gap, gap, relative_gap
from sivgap.gap.pass_at_k import mean_pass_at_k

PROMPTS, ACCURACIES, CORRELATIONS = (32, 128, 512), (0.01, 0.03, 0.3, 0.7, 0.97, 0.99), (0.1, 0.4)
Row = dict[str, Any]
Pair = tuple[Estimate, Estimate]
"""An estimate by the method before, and by the present one."""


def study(quick: bool = False) -> dict[str, list[Row]]:
    """All tables by name; whole in about three minutes of one core, quick in seconds."""
    grid = ((32, 128), (0.03, 0.7), (0.4,)) if quick else (PROMPTS, ACCURACIES, CORRELATIONS)
    few = ((32, 128), (0.3,), (0.4,)) if quick else (PROMPTS, (0.03, 0.3, 0.7, 0.97), (0.4,))
    runs = 30 if quick else 600
    return {
        "shares": shares(runs, grid),
        "gaps": gaps(runs, grid),
        "constant verifier": constant_verifier(4 if quick else 40),
        "auroc": aurocs(runs // 2, few),
        "calibration": calibrations(runs // 4, few),
        "gone": gone(runs, few),
        "strategies": strategies(runs),
    }


def shares(runs: int, grid: Iterable[Iterable[float]]) -> list[Row]:
    """Accuracies, pass@8, best of N and rates of keeping: Student's interval against `proportion` and `share`."""

    def of(correct: np.ndarray, rng: np.random.Generator) -> dict[str, Pair]:
        by_filter = kept(correct, rng)
        return {
            "accuracy, all N": (mean(correct.mean(axis=1)), proportion(correct.mean(axis=1), SAMPLES)),
            "accuracy, one response": (mean(correct[:, 0]), proportion(correct[:, 0])),
            "pass@8": (mean(correct.max(axis=1)), mean_pass_at_k(correct, SAMPLES)),
            "true positive rate": (_rate_by_student(by_filter, correct), keeping_rate(by_filter, correct == 1)),
        }

    rows = []
    for prompts, accuracy, icc in _cells(grid, "shares"):
        size = (1 - icc) / icc
        a, b = accuracy * size, (1 - accuracy) * size
        none = float(np.exp(betaln(a, b + SAMPLES) - betaln(a, b)))
        truths = {"accuracy, all N": accuracy, "accuracy, one response": accuracy, "pass@8": 1 - none}
        truths["true positive rate"] = KEEPS[0]
        rows += _coverage(Population(accuracy, icc), prompts, runs, of, truths)
    return rows


def _rate_by_student(weights: np.ndarray, correct: np.ndarray) -> Estimate:
    """Mean over prompts of their rates: what an interval over prompts was, where there was one."""
    some = correct.any(axis=1)
    return mean((weights * correct).sum(axis=1)[some] / correct.sum(axis=1)[some])


def gaps(runs: int, grid: Iterable[Iterable[float]]) -> list[Row]:
    """The gap and its relative forms (at N = 8); `hidden` are runs with too few informative prompts, not counted."""

    def of(correct: np.ndarray, rng: np.random.Generator) -> dict[str, Pair]:
        weights = kept(correct, rng)
        by = gap(correct, weights), relative_gap(correct, weights)
        share_of_all = aggregate_relative_gap(correct, weights)
        plain = [mean(each.by_prompt[each.used]) for each in by]
        return {
            "gap": (plain[0], by[0].estimate),
            "relative gap, aggregate": (_symmetric(share_of_all), share_of_all),
            "relative gap, mean over prompts": (plain[1], by[1].estimate),
        }

    rows = []
    for prompts, accuracy, icc in _cells(grid, "gaps"):
        population, rng = Population(accuracy, icc), np.random.default_rng(0)
        found = of(population.correct(MANY, rng), rng)
        truths = {name: float(pair[1].value or 0) for name, pair in found.items()}
        rows += _coverage(population, prompts, runs, of, truths)
    return rows


def _symmetric(found: Estimate) -> Estimate:
    """With the interval before: the linearised ratio's."""
    if found.value is None or found.stderr is None:
        return found
    return Estimate(found.value, found.stderr, found.value - 1.66 * found.stderr, found.value + 1.66 * found.stderr)


def constant_verifier(runs: int, prompts: int = 1024) -> list[Row]:
    """The relative gap of a verifier that stays the same while the model improves: aggregate, mean over prompts without
    saturated ones, and as trajectories had it before, where these count 0. Truths are those of infinitely many
    responses; of N = 8 some prompts look saturated that are not."""
    rows = []
    for accuracy in (0.3, 0.5, 0.7, 0.85, 0.95):
        rng, found = np.random.default_rng(1), []
        for _ in range(runs):
            correct = Population(accuracy, 0.4).correct(prompts, rng)
            weights = kept(correct, rng)
            by_prompt = relative_gap(correct, weights, saturated="zero")
            values = aggregate_relative_gap(correct, weights), relative_gap(correct, weights).estimate
            found.append([*(each.value for each in values), by_prompt.estimate.value, by_prompt.saturated / prompts])
        names = ("aggregate", "mean over prompts", "before: saturated count 0", "saturated")
        means = np.array(found, dtype=float).mean(axis=0)
        truths = dict(
            zip(
                ("mean over prompts, truth", "aggregate, truth"), Population(accuracy, 0.4).relative_gaps(), strict=True
            )
        )
        rows.append({"accuracy": accuracy, **dict(zip(names, map(float, means), strict=True)), **truths})
    return rows


def aurocs(runs: int, grid: Iterable[Iterable[float]]) -> list[Row]:
    """AUROC over all responses and within prompts, of a score that knows prompts and, less well, responses."""

    def of(pair: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> dict[str, Pair]:
        scores, correct = pair
        pooled, within = auroc_estimate(scores, correct), auroc_within(scores, correct)
        return {
            "AUROC, pooled": (_percentiles(scores, correct, rng), pooled),
            "AUROC within prompts": (Estimate(None), within),
        }

    rows = []
    for prompts, accuracy, icc in _cells(grid, "auroc"):
        population, rng = Population(accuracy, icc), np.random.default_rng(0)
        scores, correct = population.graded(MANY, rng)
        truths = {"AUROC, pooled": auroc(scores, correct), "AUROC within prompts": auroc_within(scores, correct).value}
        rows += _coverage(population, prompts, runs, of, truths, draw=Population.graded)
    return rows


def _percentiles(scores: np.ndarray, correct: np.ndarray, rng: np.random.Generator, draws: int = 60) -> Estimate:
    """The interval before: percentiles over resampled prompts (of few draws here, for time)."""
    found = []
    for _ in range(draws):
        rows = rng.integers(len(scores), size=len(scores))
        value = auroc(scores[rows], correct[rows])
        found += [] if value is None else [value]
    if not found:
        return Estimate(None)
    return Estimate(auroc(scores, correct), float(np.std(found)), *map(float, np.percentile(found, [5, 95])))


def calibrations(runs: int, grid: Iterable[Iterable[float]], draws: int = 300) -> list[Row]:
    """The calibration error of scores that are the chance of being right, and of too confident ones; 0 is the truth of
    the first. Before: the plain error with percentiles over resampled prompts."""
    kinds: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "calibrated": lambda chance: chance,
        "too confident": lambda chance: chance**2 / (chance**2 + (1 - chance) ** 2),
    }
    rows = []
    for kind, (prompts, accuracy, icc) in product(kinds, _cells(grid, "calibration")):
        population, rng = Population(accuracy, icc), np.random.default_rng(0)
        chance, correct = population.graded(MANY, rng)
        plain = calibration(kinds[kind](chance), correct, draws=2)["calibration_error_plain"].value
        truth = 0.0 if kind == "calibrated" else float(plain or 0)
        held, expected = [], []
        for _ in range(runs):
            chance, correct = population.graded(int(prompts), rng)
            found = calibration(kinds[kind](chance), correct, draws=draws)
            expected.append([found[f"calibration_error{end}"].value for end in ("", "_plain", "_if_calibrated")])
            before = _resampled_error(kinds[kind](chance), correct, rng)
            held.append([_holds(before, truth), _holds(found["calibration_error"], truth)])
        names = ("estimate", "plain", "expected if calibrated")
        rows.append(
            {
                "quantity": f"calibration error, {kind}", "prompts": int(prompts), "accuracy": accuracy, "icc": icc,
                "truth": truth, "before": float(np.mean([h[0] for h in held])),
                "after": float(np.mean([h[1] for h in held])),
                **dict(zip(names, map(float, np.mean(np.array(expected, dtype=float), axis=0)), strict=True)),
            }
        )  # fmt: skip
    return rows


def _resampled_error(scores: np.ndarray, correct: np.ndarray, rng: np.random.Generator, draws: int = 200) -> Estimate:
    bins = equal_count_bins(scores)
    prompts, size = len(scores), int(bins.max()) + 1
    flat = (bins + size * np.arange(prompts)[:, None]).ravel()
    apart = np.bincount(flat, (scores - correct).ravel(), prompts * size).reshape(prompts, size)
    counts = rng.multinomial(prompts, np.full(prompts, 1 / prompts), size=draws)
    found = np.abs(counts @ apart).sum(axis=1) / scores.size
    return Estimate(
        float(np.abs(apart.sum(axis=0)).sum() / scores.size), None, *map(float, np.percentile(found, [5, 95]))
    )


def _cells(grid: Iterable[Iterable[float]], name: str) -> Iterator[tuple[float, ...]]:
    return iter(track(list(product(*grid)), name, transient=True))


def _coverage(
    population: Population,
    prompts: float,
    runs: int,
    of: Callable[..., dict[str, Pair]],
    truths: dict[str, float | None],
    draw: Callable[..., Any] = Population.correct,
) -> list[Row]:
    """How often each estimate's interval holds its truth, of the runs that have one, and how many do not show it."""
    rng = np.random.default_rng(int(prompts))
    held: dict[str, list[tuple[bool, ...]]] = {name: [] for name in truths}
    for _ in range(runs):
        for name, (before, after) in of(draw(population, int(prompts), rng), rng).items():
            truth = float(truths[name] or 0)
            outside = before.low is not None and before.high is not None and (before.low < 0 or before.high > 1)
            held[name].append((_holds(before, truth), _holds(after, truth), after.low is None, outside))
    rows = []
    for name, each in held.items():
        before, after, hidden, outside = np.array(each).T
        shown = ~hidden
        rows.append(
            {
                "quantity": name, "prompts": int(prompts), "accuracy": population.accuracy, "icc": population.icc,
                "truth": truths[name], "before": float(before.mean()) if before.any() else None,
                "after": float(after[shown].mean()) if shown.mean() > 0.1 else None,
                "hidden": float(hidden.mean()), "outside [0, 1], before": float(outside.mean()),
            }
        )  # fmt: skip
    return rows


def _holds(found: Estimate, truth: float) -> bool:
    return found.low is not None and found.high is not None and found.low <= truth <= found.high


def main() -> None:
    import pandas as pd

    from sivgap.report.tables import cells, markdown

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    for name, rows in study(parser.parse_args().quick).items():
        frame = pd.DataFrame(rows).round(3)
        print(f"## {name}\n\n{markdown(list(frame.columns), cells(frame))}")


if __name__ == "__main__":
    main()
