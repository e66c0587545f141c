"""The report of several evaluations: what models, verifiers and judges say beside each other (MG Sections 4 to 6).

Which tables there are follows from what was evaluated: three sizes of model make the scaling of the gap, several judges
of the same responses the cross-verification grid, several methods on the same responses correlations and ensembles.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sivgap.gap.correlation import gap_correlations, score_correlations
from sivgap.gap.cross import cross_table, own_against_others, pivot
from sivgap.gap.ensemble import combination_table, subset_table
from sivgap.gap.gap import Gap
from sivgap.gap.scaling import FEWEST_MODELS, Line, fit_line, pretraining_flops, read_models
from sivgap.published import published
from sivgap.report.evaluation_record import Evaluation, read_evaluation
from sivgap.report.evaluations_figure import draw_grid, draw_scaling
from sivgap.report.overview import overview, overview_shown, weight_name
from sivgap.report.page import page_of_evaluations
from sivgap.report.tables import write_table
from sivgap.runtime.files import write_text

REFERENCE = {
    "mc": "gap_mc_tau0.7", "cot_binary": "gap_cot_binary", "cot_score": "gap_cot_score_tau8",
    "tournament": "gap_tournament_5",
}  # fmt: skip
"""The column of MG's Table 4 that is nearest to a verifier with its default weight."""

LONGEST_NAME = 120
"""Characters of a table's file name."""


@dataclass(frozen=True)
class Scaling:
    """Relative gaps of models of several sizes, one verifier on one panel, and the line through them.

    Attributes:
        points: Columns model, flops, gv_gap_relative with _se, _low, _high.
        published: The same verifier in MG's Table 4, columns model, flops, gv_gap_relative; None where it has none.
    """

    name: str
    points: pd.DataFrame
    line: Line | None
    published: pd.DataFrame | None = None


def report_evaluations(folders: Sequence[Path], where: Path) -> Path:
    """Write tables, figures and a page on the evaluations in `folders` to `where`.

    Raises:
        RunError: If one of them cannot be read.
    """
    found = [read_evaluation(folder) for folder in folders]
    write_table(overview(found), where / "tables" / "evaluations")
    shown: list[tuple[str, pd.DataFrame]] = []
    scalings, grids = scaling(found), cross_verification(found)
    if scalings:
        shown.append(("Relative gap over pre-training FLOPs (6ND)", scaling_lines(scalings)))
        points = pd.concat([each.points.assign(of=each.name) for each in scalings], ignore_index=True)
        shown.append(("Relative gap of each model", points))
        draw_scaling(scalings, where / "figures" / "scaling.png")
    for name, grid in grids.items():
        shown.append((f"Cross-verification: gap of each generator under each judge, {name}", pivot(grid).reset_index()))
        shown.append((f"Cross-verification, {name}", cross_table(grid)))
        shown.append((f"Own judge against others, {name}", own_against_others(grid)))
    if grids:
        draw_grid({name: pivot(grid) for name, grid in grids.items()}, where / "figures" / "cross_verification.png")
    for name, group in same_responses(found).items():
        shown += _of_verifiers(name, group)
    for title, table in shown:
        write_table(table, where / "tables" / _file_name(title))
    shown.insert(0, ("Evaluations", overview_shown(found)))
    write_text(where / "report.html", page_of_evaluations(where.name, scalings, shown))
    return where / "report.html"


def scaling(found: Sequence[Evaluation]) -> list[Scaling]:
    """One for each dataset, verifier and weight by which three or more models judged themselves."""
    found = [e for e in found if e.judge == e.generator and e.config["model"].get("tokens")]
    made = []
    for name, group in _groups(found, lambda e: (e.config["dataset"]["name"], e.verifier, weight_name(e))).items():
        group = sorted(group, key=lambda e: float(e.config["model"]["parameters"]))
        if len({each.generator for each in group}) < FEWEST_MODELS:
            continue
        flops = pretraining_flops(
            np.array([float(e.config["model"]["parameters"]) for e in group]),
            np.array([float(e.config["model"]["tokens"]) for e in group]),
        )
        gaps = [each.relative_gap for each in group]
        points = pd.DataFrame(
            [
                {"model": e.generator, "flops": x, **g.estimate.columns("gv_gap_relative")}
                for e, x, g in zip(group, flops, gaps, strict=True)
            ]
        )
        known = points["gv_gap_relative"].notna()
        by_prompt = None
        if all(np.array_equal(e.problems, group[0].problems) for e in group):
            by_prompt = np.stack([np.where(g.used, g.by_prompt, np.nan) for g in gaps])[known]
        line = fit_line(flops[known], points.loc[known, "gv_gap_relative"].to_numpy(np.float64), by_prompt)
        made.append(Scaling(name, points, line, _published(str(group[0].config["verifier"]["name"]))))
    return made


def _published(verifier: str) -> pd.DataFrame | None:
    """Reference points: base models of 0.5 to 72 B parameters on GSM8K, by a filter of the paper's."""
    if verifier not in REFERENCE:
        return None
    models = read_models(published("mg_table_4")).rename(columns={REFERENCE[verifier]: "gv_gap_relative"})
    return models.loc[models["flops"].notna(), ["model", "flops", "gv_gap_relative"]]


def scaling_lines(scalings: Sequence[Scaling]) -> pd.DataFrame:
    """One row a line: by how much the relative gap rises with a tenfold of FLOPs."""
    rows = []
    for each in scalings:
        if each.line is not None:
            over = each.line.slope_over_prompts
            rows.append(
                {
                    "of": each.name,
                    "models": each.line.models,
                    **each.line.slope.columns("slope"),
                    "slope_low_over_prompts": None if over is None else over.low,
                    "slope_high_over_prompts": None if over is None else over.high,
                    "r": each.line.r,
                }
            )
    return pd.DataFrame(rows)


def cross_verification(found: Sequence[Evaluation]) -> dict[str, dict[tuple[str, str], Gap]]:
    """Gaps by (generator, judge), for each dataset, verifier and weight by which two or more models judged."""
    grids = {}
    for name, group in _groups(found, lambda e: (e.config["dataset"]["name"], e.verifier, weight_name(e))).items():
        panel = [e for e in group if np.array_equal(e.problems, group[0].problems)]
        if len({e.judge for e in panel}) > 1 and any(e.judge != e.generator for e in panel):
            sizes = {e.generator: float(e.config["model"]["parameters"]) for e in panel}
            by_size = sorted(panel, key=lambda e: (sizes[e.generator], sizes.get(e.judge, np.inf)))
            grids[name] = {(e.generator, e.judge): e.gap for e in by_size}
    return grids


def same_responses(found: Sequence[Evaluation]) -> dict[str, list[Evaluation]]:
    """Evaluations of the same responses by two or more verifiers (ground truth is none), by what they share."""
    groups = _groups(
        [e for e in found if e.config["verifier"]["name"] not in ("gold", "ensemble")],
        lambda e: (e.generator, e.config["dataset"]["name"], f"seed {e.config['seed']}", f"n {e.correct.shape[1]}"),
    )
    together = {}
    for name, group in groups.items():
        alike = [e for e in group if e.nll.shape == group[0].nll.shape and np.array_equal(e.nll, group[0].nll)]
        if len({_label(e) for e in alike}) > 1:
            together[name] = list({_label(e): e for e in alike}.values())
    return together


def _of_verifiers(name: str, group: Sequence[Evaluation]) -> list[tuple[str, pd.DataFrame]]:
    """What several verifiers of the same responses have in common, and what they are worth together."""
    utility, empty = group[0].correct, group[0].config["weight"]["empty"]
    scores = {_label(e): e.scores for e in group}
    weights = {_label(e): e.weight for e in group}
    gaps = {_label(e): e.gap.by_prompt for e in group}
    return [
        (f"Correlation of scores, {name}", score_correlations(scores, draws=200)),
        (f"Correlation of gaps, {name}", gap_correlations(gaps, draws=200)),
        (f"Ensembles, {name}", subset_table(utility, scores, weights, empty, {_label(e): e.unparsed for e in group})),
        (f"Scores combined, {name}", combination_table(utility, scores, group[0].weight, empty)),
    ]


def _groups(found: Sequence[Evaluation], key: Any) -> dict[str, list[Evaluation]]:
    ordered = sorted(found, key=key)
    return {", ".join(map(str, name)): list(group) for name, group in groupby(ordered, key=key)}


def _label(found: Evaluation) -> str:
    return found.verifier if found.judge == found.generator else f"{found.verifier} by {found.judge}"


def _file_name(title: str) -> str:
    """A title as a file's name: letters, digits and underscores alone; where it must be cut, unlike any other's."""
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in title.lower()).strip("_")
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}_{hashlib.sha256(title.encode()).hexdigest()[:8]}"
