"""``python -m sivgap.fit runs=DIR_OR_GLOB`` (or ``csv=FILE``, or ``wandb=ENTITY/PROJECT/RUN``): explain and forecast.

Writes ``fit.json`` (CONTRACT) and ``figures/fit.png``: into the run directory where one run is fitted, otherwise under
``out``. Imports neither torch nor transformers. With ``curve=COLUMN`` it forecasts that column alone (`fit_curve`).
"""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from sivgap.config.app import run_app
from sivgap.config.settings import Settings

if TYPE_CHECKING:
    from sivgap.dynamics.arrivals import Arrival
    from sivgap.dynamics.curves import Curves
    from sivgap.dynamics.population import PromptCurves
    from sivgap.dynamics.weights import Weights

Solver = Literal["first", "all"]
Parameter = Literal["solver_initial", "verifier_initial", "gap_limit", "rate", "beta_over_alpha"]


class ForecastConfig(Settings):
    method: Literal["default", "adaptive"] = "default"
    """``default``: the median of four families that fall and flatten, best on the curves of self-improvement.
    ``adaptive``: also a wandering level, a slope that dies out and an S-shape, weighted by how well each forecast the
    curve so far; better where a curve may be of any kind."""


class FitConfig(Settings):
    """What to fit, and how."""

    runs: str | None = None
    """A run directory, or a pattern of several (in quotes): seeds of one experiment, fitted together."""
    csv: str | None = None
    """A table with the columns epoch, solver_uncertainty, verifier_uncertainty; a column run tells several apart."""
    wandb: str | None = None
    """ENTITY/PROJECT/RUN on W&B."""
    curve: str | None = None
    """A column of anybody's: it is forecast on its own, and nothing else is fitted."""
    step: str | None = None
    """With ``curve``: the column of steps; null is the first of step, epoch, _step, global_step ... that is there."""
    run: str | None = None
    """With ``curve``: the column that tells the runs in one table apart."""
    entropy: str | None = None
    """With ``curve``: the column of token entropy (nats), for the entropy law; null is the first of token_entropy,
    entropy ... that is there."""
    forecast: ForecastConfig = ForecastConfig()
    out: str = "fits"
    """Where results go unless a single run directory is fitted: ``out``/NAME."""
    until: float | None = Field(default=None, ge=0)
    """Use only what was seen up to this epoch."""
    horizon: float | None = Field(default=None, gt=0)
    """Forecast to this epoch; null is twice the last one used."""
    split: Literal["train", "test"] = "test"
    """Which panel of a run."""
    unit: Literal["response", "token"] = "response"
    """Nats a response, as the paper, or nats a token, which a change of length does not move."""
    solver: Literal["first", "all"] | None = None
    """U_s from the first response of each prompt, as the paper, or from all: the same quantity with less noise. null is
    ``all`` for a run directory, where it was measured, and ``first`` for a table or W&B, or nats a token."""
    shared: tuple[Parameter, ...] = ("solver_initial", "verifier_initial", "gap_limit", "rate", "beta_over_alpha")
    """Parameters that several runs share; the others are fitted for each run (and reported for the first)."""
    weights: Literal["equal", "stderr", "smoothed", "huber"] | None = None
    """Equal weights, as the paper; by the logged standard errors; by these smoothed, the variance proportional to the
    fitted level; or with bounded influence of outliers. null is ``smoothed`` for run directories with standard errors,
    and ``equal`` otherwise."""
    bootstrap: int = Field(default=1000, ge=0, le=100_000)
    """Refits to resampled prompts (to resampled residuals where prompts are not known); 0 leaves the bootstrap out, and
    with it intervals for the population of prompts."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of the bootstrap."""

    @model_validator(mode="after")
    def _one_source(self) -> FitConfig:
        given = [name for name in ("runs", "csv", "wandb") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                f"expected one of runs=DIR, csv=FILE, wandb=ENTITY/PROJECT/RUN, got {' and '.join(given) or 'none'}"
            )
        given = [name for name in ("step", "run", "entropy") if getattr(self, name)]
        if given and not self.curve:
            raise ValueError(f"{given[0]}: needs curve=COLUMN, the column to forecast")
        if self.wandb and not re.fullmatch(r"[^/]+/[^/]+/[^/.][^/]*", self.wandb):  # the last part names a folder
            raise ValueError(f"wandb: expected ENTITY/PROJECT/RUN, got {self.wandb!r}")
        return self


def main() -> None:
    run_app("fit", FitConfig, fit)


def fit(config: FitConfig) -> None:
    """Fit, judge, forecast; prints the path of ``fit.json``.

    Raises:
        ConfigError: If the source does not exist.
        RunError: If it cannot be fitted, with the reason.
    """
    if config.curve is not None:
        from sivgap.fit_curve import fit_curve

        fit_curve(config)
        return
    from sivgap.dynamics.analysis import analyse, average
    from sivgap.dynamics.fit_json import as_json
    from sivgap.report.fit_figure import draw_fit
    from sivgap.report.fit_tables import print_fit
    from sivgap.runs.load_curves import entropy_laws
    from sivgap.runtime.display import Display
    from sivgap.runtime.files import write_json

    whole, sources, folder, solver = _read(config)
    runs = [run if config.until is None else run.until(config.until) for run in whole]
    known = average(whole)
    display = Display()
    with display.phase("fitting", 1, "fits") as advance:
        found = analyse(
            runs,
            known.epoch,
            config.horizon,
            config.shared,
            _weights(config, sources, runs),
            config.bootstrap,
            config.seed,
            _prompts(config, sources, list(average(runs).epoch), solver),
            _arrivals(config, sources),
            config.forecast.method,
        )
        advance(1, 0)
    folder.mkdir(parents=True, exist_ok=True)
    laws = entropy_laws(sources, config.split, config.until)
    opinions = {"entropy_law": {name: asdict(law) for name, law in laws.items()}} if laws else {}
    write_json(folder / "fit.json", {**as_json(found), "solver_estimate": solver, **opinions}, folder)
    picture = folder / "figures" / "fit.png"
    draw_fit(found, known, picture)
    print_fit(found, display)
    for name, law in laws.items():
        display.say(f"{name}: {law.sentence}")
    display.say(f"U_s of {_SOLVER[solver]}, weights {found.weights}: {_chosen(config)}")
    display.say(f"picture: {picture}")
    print(folder / "fit.json")


_SOLVER = {"first": "the first response of each prompt", "all": "all samples of each prompt"}


def _chosen(config: FitConfig) -> str:
    """Who chose solver and weights."""
    if config.solver and config.weights:
        return "as asked"
    source = "run directories" if config.runs else "curves without prompts, as the paper"
    return f"the default for {source} (solver=, weights= choose others)"


def _weights(config: FitConfig, folders: list[Path], runs: list[Curves]) -> Weights:
    """As asked; by default smoothed standard errors for run directories that have them, equal weights otherwise."""
    from sivgap.runs.load_curves import best_weights

    if config.weights is not None:
        return config.weights
    return best_weights(runs) if folders else "equal"


def _prompts(config: FitConfig, folders: list[Path], epochs: list[float], solver: Solver) -> list[PromptCurves]:
    """Curves of every prompt of `folders`; none where a bootstrap does not read them, or some are not stored."""
    from sivgap.runs.load_curves import panel_curves

    if config.unit == "token" or config.bootstrap == 0:
        return []
    return panel_curves(folders, epochs, config.split, solver)


def _arrivals(config: FitConfig, folders: list[Path]) -> list[Arrival]:
    from sivgap.runs.load_curves import arrivals_of

    return [] if config.unit == "token" else [a for folder in folders for a in arrivals_of(folder, config.until)]


def _read(config: FitConfig) -> tuple[list[Curves], list[Path], Path, Solver]:
    """The curves, the run directories they come from (none of a file), where results go, and whose U_s it is."""
    from sivgap.runs.load_curves import common_name, from_csv, from_run, from_wandb, has_all_samples, run_folders

    solver = config.solver or "first"
    if config.csv:
        path = Path(config.csv)
        return from_csv(path, config.unit, solver), [], Path(config.out) / path.stem, solver
    if config.wandb:
        curves = from_wandb(config.wandb, config.split, config.unit, solver)
        return [curves], [], Path(config.out) / config.wandb.rpartition("/")[2], solver
    assert config.runs is not None
    folders = run_folders(config.runs)
    if config.solver is None and config.unit == "response" and all(map(has_all_samples, folders)):
        solver = "all"
    curves_of = [from_run(folder, config.split, config.unit, solver) for folder in folders]
    return curves_of, folders, folders[0] if len(folders) == 1 else Path(config.out) / common_name(folders), solver


if __name__ == "__main__":
    main()
