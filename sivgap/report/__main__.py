"""``python -m sivgap.report runs=DIR_OR_GLOB``: what happened, as a page, tables and figures.

One run: ``report.html``, ``tables/`` and ``figures/`` in its directory. Several, or models: the same under ``out``.
Imports neither torch nor transformers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from sivgap.config.app import run_app
from sivgap.config.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from sivgap.dynamics.analysis import Analysis
    from sivgap.report.record import Record
    from sivgap.runs.load_curves import SolverEstimate


class ReportConfig(Settings):
    """What to report on."""

    runs: str | None = None
    """A run directory, or a pattern of several (in quotes)."""
    sweep: str | None = None
    """A sweep's directory; while it is under way, its status is shown first."""
    evaluations: str | None = None
    """Directories of `sivgap.evaluate`, a pattern in quotes: models, verifiers and judges beside each other."""
    models: str | None = None
    """A CSV of models (columns model, parameters, tokens, accuracy, gap...), or a published table: mg_table_3 and
    mg_table_4 of Mind the Gap."""
    margin: float = Field(default=0.02, gt=0, lt=1)
    """Of a sweep: where tests show them to differ by less, accuracies are called equivalent, and a gap from 0 gone."""
    out: str = "reports"
    """Where the report of several runs, evaluations or models goes: ``out``/NAME."""

    @model_validator(mode="after")
    def _one_source(self) -> ReportConfig:
        if [self.runs, self.sweep, self.evaluations, self.models].count(None) != 3:
            raise ValueError("expected one of runs=DIR, sweep=DIR, evaluations=DIRS and models=FILE.csv")
        return self


def main() -> None:
    run_app("report", ReportConfig, report)


def report(config: ReportConfig) -> None:
    """Write the report; prints the path of ``report.html``.

    Raises:
        ConfigError: If there is no such run.
        RunError: If a run cannot be read.
    """
    from sivgap.report.over_n import over_n_of
    from sivgap.report.page import page_of_run, page_of_runs
    from sivgap.report.record import read_record
    from sivgap.report.tables import runs_table, trajectory_table, write_table
    from sivgap.runs.load_curves import common_name, run_folders
    from sivgap.runtime.files import write_text

    if config.sweep is not None:
        _sweep(Path(config.sweep), config.margin)
        return
    if config.evaluations is not None:
        _evaluations(config.evaluations, Path(config.out))
        return
    if config.models is not None:
        from sivgap.report.models import report_models

        print(report_models(config.models, Path(config.out)))
        return
    folders = run_folders(config.runs or "")
    records = [read_record(folder) for folder in folders]
    if len(records) == 1:
        where, (record,) = folders[0], records
        found, by_n = _analysis(where), over_n_of(record)
        _draw(record, found, by_n, where / "figures")
        page = page_of_run(record, found, by_n)
        for split in ("train", "test"):
            if record.of(split):
                write_table(trajectory_table(record, split), where / "tables" / f"trajectory_{split}")
    else:
        where = Path(config.out) / common_name(folders)
        where.mkdir(parents=True, exist_ok=True)
        page = page_of_runs(records, common_name(folders))
    write_table(runs_table(records), where / "tables" / "runs")
    write_text(where / "report.html", page)
    print(where / "report.html")


def _sweep(path: Path, margin: float) -> None:
    """The status of a sweep until nothing in it is running, then its report if anything is complete."""
    from sivgap.report.sweep import report_sweep
    from sivgap.report.sweep_watch import follow
    from sivgap.runs.sweep_manifest import Sweep
    from sivgap.runtime.display import Display

    display, sweep = Display(), Sweep(path)
    follow(sweep, display)
    print(report_sweep(path, display, margin))


def _evaluations(pattern: str, out: Path) -> None:
    """One evaluation is reported in its own directory, several under `out`."""
    from sivgap.report.evaluation import report_evaluation
    from sivgap.report.evaluations import report_evaluations
    from sivgap.runs.load_curves import common_name, run_folders
    from sivgap.runtime.display import Display

    folders = run_folders(pattern, "scores.parquet")
    if len(folders) == 1:
        print(report_evaluation(folders[0], Display()))
    else:
        print(report_evaluations(folders, out / common_name(folders)))


def _analysis(where: Path) -> Analysis | None:
    """The fit of a run; None where it cannot be fitted."""
    from sivgap.dynamics.analysis import analyse
    from sivgap.errors import RunError
    from sivgap.runs.load_curves import arrivals_of, best_weights, from_run, has_all_samples, prompt_curves

    solver: SolverEstimate = "all" if has_all_samples(where) else "first"
    try:
        curves = from_run(where, "test", "response", solver)
    except RunError:
        return None
    prompts = prompt_curves(where, list(curves.epoch), "test", solver)
    return analyse(
        [curves],
        curves.epoch,
        weights=best_weights([curves]),
        prompts=[] if prompts is None else [prompts],
        arrivals=arrivals_of(where),
    )


def _draw(record: Record, found: Analysis | None, by_n: dict[float, pd.DataFrame], figures: Path) -> None:
    from sivgap.report.fit_figure import draw_fit
    from sivgap.report.over_n_figure import draw_over_n
    from sivgap.report.trajectory_figure import draw_trajectory

    lines = record.of("test")
    title = f"{record.name}: {lines[0]['n_prompts']} held-out prompts x {lines[0]['n_samples']} samples"
    draw_trajectory(lines, None if found is None else found.fit, title, figures / "trajectory.png")
    if by_n:
        draw_over_n(by_n, title, figures / "over_n.png")
    if found is not None:
        draw_fit(found, found.runs[0], figures / "fit.png")


if __name__ == "__main__":
    main()
