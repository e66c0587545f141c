"""The tables of one evaluation (MG Sections 2 to 4, Appendix): every number with its interval over prompts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sivgap.gap.best_of import best_of_table
from sivgap.gap.calibration import calibration, reliability_curve
from sivgap.gap.distribution import gap_quantiles, gap_signs, score_histogram
from sivgap.gap.estimate import Estimate, mean, proportion, too_few
from sivgap.gap.gap import aggregate_relative_gap, gap, relative_gap, saturated_fraction
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
    """What ``evaluation.json`` says: who was measured, and each number as {value, stderr, low, high}, or a count.

    A gap, and an AUROC within prompts, also say how many `informative` prompts they rest on."""
    plain, relative, size = found.gap, found.relative_gap, found.correct.shape[1]
    numbers = {
        "solver_accuracy": proportion(found.correct.mean(axis=1), size),
        "solver_accuracy_strict": proportion(found.correct_strict.mean(axis=1), size),
        "solver_uncertainty": mean(found.nll.mean(axis=1)),
        "solver_uncertainty_per_token": mean((found.nll / found.length).mean(axis=1)),
        "solver_length": mean(found.length.mean(axis=1)),
        "filtered_accuracy": plain.accuracy,
        "gv_gap": plain.estimate,
        "gv_gap_aggregate_relative": found.aggregate_relative_gap,
        "gv_gap_relative": relative.estimate,
        "saturated_fraction": saturated_fraction(found.correct),
        **calibration(found.scores, found.correct),
        **{name: value for name, value in vars(found.rival).items() if name != "score_auroc"},  # "auroc" says it
        "score_mean": mean(found.scores.mean(axis=1)),
        "score_varied_fraction": proportion(varied(found.scores, found.unparsed)),
        "unparsed_fraction": proportion(found.unparsed.mean(axis=1), size),
        "finished_fraction": proportion(found.finished.mean(axis=1), size),
    }
    return {
        "generator": found.generator,
        "judge": found.judge,
        "verifier": found.verifier,
        "dataset": found.config["dataset"]["name"],
        "prompts": len(found.correct),
        "samples": size,
        "empty_prompts": plain.empty,
        "saturated_prompts": relative.saturated,
        "score_std": found.measured.spread,
        **{name: estimate.record() for name, estimate in numbers.items()},
        "pass_at_k": {str(k): mean_pass_at_k(found.correct, k).record() for k in found.config["pass_at"] if k <= size},
        "notes": found.status.get("notes", {}),
    }


def tables(found: Evaluation) -> dict[str, tuple[str, pd.DataFrame]]:
    """Every table by its file's name, with its title."""
    asked = found.config["weight"]
    rule = found.selection
    shown = {
        "gap_by_weight": ("The gap by weight function (MG Def. 2.1, 2.2)", weight_sweep(found)),
        "over_n": (
            f"Over N, {rule.name}; AUROC within prompts {number(found.rival.score_auroc_within)}",
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
                **gap(found.correct, kept, asked["empty"]).columns("gv_gap"),
                **aggregate_relative_gap(found.correct, kept, asked["empty"]).columns("gv_gap_aggregate_relative"),
                **relative.estimate.columns("gv_gap_relative"),
            }
        )
    return pd.DataFrame(rows)


def number(found: dict[str, Any] | Estimate) -> str:
    """An estimate, or its record, as a reader wants it: value [low, high], with the number of informative prompts where
    these are counted, or that they are too few."""
    estimate = Estimate(**found) if isinstance(found, dict) else found
    if estimate.informative is not None and estimate.hidden:
        return too_few(estimate.informative)
    if estimate.value is None:
        return "-"
    interval = "" if estimate.low is None else f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    counted = "" if estimate.informative is None else f", {estimate.informative} informative"
    return f"{estimate.value:.3f}{interval}{counted}"
