"""The tables of one evaluation (MG Sections 2 to 4, Appendix): every number with its interval over prompts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sivgap.gap.best_of import best_of_table
from sivgap.gap.calibration import calibration, reliability_curve
from sivgap.gap.distribution import gap_quantiles, gap_signs, score_histogram
from sivgap.gap.estimate import Estimate, mean
from sivgap.gap.gap import aggregate_relative_gap, gap, relative_gap
from sivgap.gap.over_n import over_n
from sivgap.gap.pass_at_k import mean_pass_at_k
from sivgap.gap.rival import rival_table, varied
from sivgap.gap.variance import components, over_repetitions
from sivgap.gap.weights import Exponential, Quantile, Threshold, Weight, weigh
from sivgap.report.evaluation_record import Evaluation

QUANTILES = (0.0625, 0.125, 0.25, 0.5, 0.75, 1.0)
BETAS = (0.01, 0.03, 0.1, 0.3, 1.0)
MOST_THRESHOLDS = 41
"""Of a threshold sweep: scores that take more values are thinned to these many."""


def summary(found: Evaluation) -> dict[str, Any]:
    """What ``evaluation.json`` says: who was measured, and each number as {value, stderr, low, high}, or a count."""
    asked, weights = found.config["weight"], found.weights
    plain, relative = found.gap, found.relative_gap
    numbers = {
        "solver_accuracy": mean(found.correct.mean(axis=1)),
        "solver_accuracy_strict": mean(found.correct_strict.mean(axis=1)),
        "solver_uncertainty": mean(found.nll.mean(axis=1)),
        "solver_uncertainty_per_token": mean((found.nll / found.length).mean(axis=1)),
        "solver_length": mean(found.length.mean(axis=1)),
        "filtered_accuracy": plain.accuracy,
        "gap": plain.estimate,
        "relative_gap": relative.estimate,
        "aggregate_relative_gap": aggregate_relative_gap(found.correct, weights, asked["empty"]),
        **calibration(found.scores, found.correct),
        **{name: value for name, value in vars(found.rival).items() if name != "score_auroc"},  # "auroc" says it
        "score_mean": mean(found.scores.mean(axis=1)),
        "score_varied_fraction": mean(varied(found.scores, found.unparsed)),
        "unparsed_fraction": mean(found.unparsed.mean(axis=1)),
        "finished_fraction": mean(found.finished.mean(axis=1)),
    }
    return {
        "generator": found.generator,
        "judge": found.judge,
        "verifier": found.verifier,
        "dataset": found.config["dataset"]["name"],
        "prompts": len(found.correct),
        "samples": found.correct.shape[1],
        "empty_prompts": plain.empty,
        "saturated_prompts": relative.saturated,
        "score_std": found.measured.spread,
        **{name: vars(estimate) for name, estimate in numbers.items()},
        "pass_at_k": {
            str(k): vars(mean_pass_at_k(found.correct, k))
            for k in found.config["pass_at"]
            if k <= found.correct.shape[1]
        },
        "notes": found.status.get("notes", {}),
    }


def tables(found: Evaluation) -> dict[str, tuple[str, pd.DataFrame]]:
    """Every table by its file's name, with its title."""
    asked = found.config["weight"]
    rule = found.selection
    shown = {
        "gap_by_weight": ("The gap by weight function (MG Def. 2.1, 2.2)", weight_sweep(found)),
        "over_n": (
            f"Over N, {rule.name}",
            over_n(found.correct, found.scores, found.nll, found.length, found.finished, rule, found.unparsed),
        ),
        "best_of": (
            "One answer from N responses",
            best_of_table(
                found.correct, found.answers, found.scores, found.nll / found.length, rule.eligible(found.finished)
            ),
        ),
        "against_likelihood": ("What the score adds to the likelihood", rival_table(found.rival)),
        "reliability": ("Reliability of the score", reliability_curve(found.scores, found.correct)),
        "scores": ("Scores of right and of wrong responses", score_histogram(found.scores, found.correct)),
    }
    by_prompt = found.gap.by_prompt
    shown["gaps_of_prompts"] = ("Gaps of single prompts", gap_quantiles(by_prompt))
    shown["gap_signs"] = ("Prompts that the filter helps and harms", gap_signs(by_prompt))
    if found.verdicts is not None and min(found.verdicts.shape) > 1:
        shown["verdict_variance"] = ("Variance of the verdict", components(found.verdicts))
        shown["over_verifications"] = (
            "Over verifications m",
            over_repetitions(found.verdicts, found.correct, found.weight, asked["empty"]),
        )
    return shown


def weight_sweep(found: Evaluation) -> pd.DataFrame:
    """One row a weight function: thresholds at the scores that occur, quantiles, and exponentials."""
    levels = np.unique(found.scores)
    if len(levels) > MOST_THRESHOLDS:
        levels = np.linspace(0, 1, MOST_THRESHOLDS)
    weights: list[tuple[str, float, Weight]] = [
        ("threshold", float(level), Threshold(float(level))) for level in levels
    ]
    weights += [("quantile", q, Quantile(q)) for q in QUANTILES]
    weights += [("exponential", beta, Exponential(beta)) for beta in BETAS]
    asked = found.config["weight"]
    rows = []
    for kind, parameter, weight in weights:
        kept = weigh(found.scores, weight, found.unparsed)
        relative = relative_gap(found.correct, kept, asked["empty"], asked["saturated"])
        rows.append(
            {
                "weight": kind,
                "parameter": parameter,
                "kept": float(kept.mean()),
                **gap(found.correct, kept, asked["empty"]).columns("gap"),
                **relative.estimate.columns("relative_gap"),
            }
        )
    return pd.DataFrame(rows)


def number(estimate: dict[str, float | None] | Estimate, scale: float = 1.0) -> str:
    """An estimate as a reader wants it: value ± standard error."""
    parts = estimate if isinstance(estimate, dict) else vars(estimate)
    if parts["value"] is None:
        return "-"
    error = "" if parts["stderr"] is None else f" ± {parts['stderr'] * scale:.3f}"
    return f"{parts['value'] * scale:.3f}{error}"
