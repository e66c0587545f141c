"""``report.html`` of everything that is reported on: what stands on each page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import yaml

from sivgap.dynamics.analysis import OVER_PROMPTS, Analysis
from sivgap.report import charts
from sivgap.report.beware import beware_of
from sivgap.report.compare_sides import METRICS
from sivgap.report.cross_model import CrossModel
from sivgap.report.cross_tables import CrossGroup
from sivgap.report.evaluation_record import Evaluation
from sivgap.report.examples import Examples, examples
from sivgap.report.fit_tables import arrivals_table, claims_table
from sivgap.report.record import Line, Record
from sivgap.report.render import Chart, render
from sivgap.report.rounds import Rounds
from sivgap.report.sweep_record import SweepRecord
from sivgap.report.tables import estimates_table, runs_table, trajectory_table
from sivgap.report.terminal import accuracy_of_all
from sivgap.report.trajectory_figure import interval

if TYPE_CHECKING:
    from sivgap.report.compare import Comparison
    from sivgap.report.evaluations import Scaling


def page_of_run(record: Record, found: Analysis | None, by_n: dict[float, pd.DataFrame]) -> str:
    """The report of one run; `found` is its fit, if it could be fitted, `by_n` its tables over N, by epoch."""
    lines = record.of("test")
    first, last = lines[0], lines[-1]
    shown = [
        Chart(charts.uncertainties(record, found), "Uncertainties on the held-out panel, fitted law and forecast"),
        Chart(
            charts.accuracies(record),
            "Accuracy of one response, of the chosen one, and of the likeliest (90 % intervals, population of prompts)",
        ),
        Chart(charts.pass_at_k(record), "pass@k by epoch (unbiased)"),
        Chart(
            charts.gv_gap(record),
            "Generation-verification gap (MG Def. 2.1), as a share of all accuracy that is missing (aggregate), and as "
            "the mean of prompts' shares (Def. 2.2, without prompts with every response right)",
        ),
    ]
    tables = [("Trajectory, held out", trajectory_table(record))]
    if found is not None:
        shown.append(Chart(charts.linearity(found), "Change of the gap against the gap"))
        of = f"Fitted law: low and high for the {found.of}" if found.of == OVER_PROMPTS else "Fitted law: this panel"
        fitted = found.fit if found.cross is None else found.cross
        limits = {f"{name}_limit": end for name, end in fitted.limits.items()}  # the gap's is a parameter itself
        tables.insert(0, (of, estimates_table({**fitted.parameters, **limits})))
        if found.cross is None:
            tables.insert(1, (f"What the theory claims (tests of: {found.test.of})", claims_table(found)))
        if found.arrivals is not None:
            tables.insert(
                1, ("gamma from the verifier's jump at arrivals, training panel", arrivals_table(found.arrivals))
            )
    if by_n:
        shown.append(Chart(charts.over_n(by_n), f"Accuracy over N, first and last measurement; {_within(first, last)}"))
        tables.append(("Over N, last measurement", by_n[max(by_n)]))
    cards = [
        (label, f"{before:.3f} → {after:.3f}")
        for label, before, after in (
            ("solver accuracy, all N samples", accuracy_of_all(first), accuracy_of_all(last)),
            ("solver accuracy, first response", first["solver_accuracy"], last["solver_accuracy"]),
            ("best of N", first["verifier_accuracy"], last["verifier_accuracy"]),
            ("U_s (nats)", first["solver_uncertainty"], last["solver_uncertainty"]),
            ("U_v (nats)", first["verifier_uncertainty"], last["verifier_uncertainty"]),
            ("gap (nats)", first["gap"], last["gap"]),
        )
    ]
    return render(
        title=record.name,
        subtitle=f"{record.status.get('state')}, {last['n_prompts']} held-out prompts x {last['n_samples']} samples, "
        f"epoch {last['epoch']:g}, {record.status.get('seconds', 0):.0f} s",
        cards=cards,
        findings=[],
        warnings=[*beware_of(record), *([] if found is None else found.warnings)],
        shown=shown,
        tables=tables,
        examples=examples(record.samples[max(record.samples)]) if record.samples else [],
        details=[
            ("Configuration", yaml.safe_dump(record.config, sort_keys=False)),
            ("Versions, hardware, status", yaml.safe_dump(record.status, sort_keys=False)),
        ],
    )


def _within(first: Line, last: Line) -> str:
    """The AUROC that best of N depends on."""
    said = []
    for line in (first, last):
        (value,), (low,), (high,) = interval([line], "score_auroc_within")
        said.append("-" if np.isnan(value) else f"{value:.3f}" + ("" if np.isnan(low) else f" [{low:.3f}, {high:.3f}]"))
    return f"AUROC of the score within prompts: {' → '.join(said)}"


def page_of_runs(records: Sequence[Record], title: str) -> str:
    """The report of several runs: a table of them and their curves, one over the other."""
    shown = [
        Chart(charts.overlay(records, "solver_accuracy", "solver accuracy"), "Solver accuracy, held out"),
        Chart(charts.overlay(records, "verifier_accuracy", "best-of-N accuracy"), "Best of N, held out"),
        Chart(charts.overlay(records, "solver_uncertainty", "U_s (nats)"), "U_s, held out"),
        Chart(charts.overlay(records, "gap", "gap (nats)"), "Gap, held out"),
        Chart(
            charts.overlay(records, "gv_gap_aggregate_relative", "relative gap, aggregate"),
            "Relative generation-verification gap (gap / missing accuracy), held out; runs of older versions lack it",
        ),
    ]
    return render(
        title=title,
        subtitle=f"{len(records)} runs",
        cards=[],
        findings=[],
        warnings=[],
        shown=shown,
        tables=[("Runs", runs_table(records))],
        examples=[],
        details=[],
    )


def page_of_sweep(
    sweep: SweepRecord,
    groups: Sequence[CrossGroup],
    models: Sequence[CrossModel | None],
    rounds: Mapping[str, Rounds],
    tables: Sequence[tuple[str, pd.DataFrame]],
    said: Sequence[str],
) -> str:
    """The report of a sweep: what its tables and tests say, and its curves by setting; `rounds` of one without
    external data."""
    shown = []
    for group, model in zip(groups, models, strict=True):
        name = f", {group.name}" if group.name else ""
        runs = group.runs
        shown += [
            Chart(charts.by_strategy(runs, "solver_accuracy", "solver accuracy", None), f"Solver accuracy{name}"),
            Chart(charts.by_strategy(runs, "verifier_accuracy", "best-of-N accuracy", None), f"Best of N{name}"),
            Chart(
                charts.by_strategy(runs, "solver_uncertainty_all", "U_s (nats)", model),
                f"U_s, with the fitted law{name}",
            ),
            Chart(charts.by_strategy(runs, "verifier_uncertainty", "U_v (nats)", model), f"U_v, with the law{name}"),
        ]
    if not groups:
        by_name = sweep.named()
        shown = [
            Chart(charts.by_strategy(by_name, column, title, None), f"{title}, held out, mean over seeds")
            for column, title in (
                ("solver_accuracy", "solver accuracy"), ("verifier_accuracy", "best-of-N accuracy"),
                ("solver_uncertainty", "U_s (nats)"), ("gap", "gap (nats)"),
                ("gv_gap", "generation-verification gap"),
            )
        ]  # fmt: skip
        shown.append(Chart(charts.pass_at_k_ends(rounds), "pass@k before and after, held out, mean over seeds"))
    unfinished = [f"{p.job.name}: {p.state}" for p in sweep.progress if p.state != "complete"]
    return render(
        title=sweep.name,
        subtitle=f"{len(sweep.records)} of {len(sweep.progress)} jobs complete",
        cards=[],
        findings=said,
        warnings=unfinished,
        shown=shown,
        tables=tables,
        examples=[],
        details=[("Configuration of the first run", yaml.safe_dump(sweep.records[0].config, sort_keys=False))],
    )


def page_of_evaluation(
    found: Evaluation,
    title: str,
    size: str,
    cards: Sequence[tuple[str, str]],
    warnings: Sequence[str],
    tables: Mapping[str, tuple[str, pd.DataFrame]],
    responses: Examples,
) -> str:
    """The report of one evaluation; `tables` by name, each with its title."""
    return render(
        title=title,
        subtitle=f"{size}, {found.status.get('seconds', 0):.0f} s",
        cards=cards,
        findings=[],
        warnings=warnings,
        shown=[
            Chart(charts.evaluation_over_n(tables["over_n"][1]), "Accuracy of the best of N, over all subsets of N"),
            Chart(charts.gap_over_threshold(tables["gap_by_weight"][1]), "The gap over the threshold"),
            Chart(charts.reliability(tables["reliability"][1]), "Share that is right by score"),
        ],
        tables=list(tables.values()),
        examples=responses,
        examples_title="Responses",
        details=[
            ("Configuration", yaml.safe_dump(found.config, sort_keys=False)),
            ("Versions, hardware, status", yaml.safe_dump(found.status, sort_keys=False)),
        ],
    )


def page_of_evaluations(title: str, scalings: Sequence[Scaling], tables: Sequence[tuple[str, pd.DataFrame]]) -> str:
    """The report of several evaluations."""
    return render(
        title=title,
        subtitle=f"{len(tables[0][1])} evaluations",
        cards=[],
        findings=[],
        warnings=[],
        shown=[Chart(charts.scaling(each), f"Relative gap over pre-training FLOPs: {each.name}") for each in scalings],
        tables=tables,
        examples=[],
        details=[],
    )


def page_of_models(
    title: str, models: pd.DataFrame, tables: Sequence[tuple[str, pd.DataFrame]], findings: Sequence[str]
) -> str:
    """The report of a table of models."""
    return render(
        title=title,
        subtitle=f"{len(models)} models",
        cards=[],
        findings=findings,
        warnings=[],
        shown=[
            Chart(charts.gaps_over(models, "flops", "pre-training FLOPs (6ND)"), "Gaps over pre-training FLOPs"),
            Chart(charts.gaps_over(models, "accuracy", "accuracy of one response"), "Gaps over accuracy"),
        ],
        tables=tables,
        examples=[],
        details=[],
    )


def page_of_comparison(
    found: Comparison, said: Sequence[str], tables: Sequence[tuple[str, pd.DataFrame]], responses: Examples
) -> str:
    """The report of two runs or evaluations beside each other."""
    by_epoch = [rows for _, rows in found.differences.groupby("metric", sort=False) if len(rows) > 1]
    return render(
        title=f"B {found.names[1]} against A {found.names[0]}",
        subtitle=f"{found.prompts} problems that both measured",
        cards=[],
        findings=said,
        warnings=[],
        shown=[
            Chart(
                charts.difference(rows),
                f"{METRICS[rows['metric'].iloc[0]]}, B less A, 90 % over the population of prompts",
            )
            for rows in by_epoch
        ],
        tables=tables,
        examples=responses,
        examples_title="Problems won and lost at the last measurement",
        details=[],
    )
