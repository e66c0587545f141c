"""``python -m sivgap.fit runs=DIR_OR_GLOB`` (or ``csv=FILE``, or ``wandb=ENTITY/PROJECT/RUN``): explain and forecast.

Writes ``fit.json`` (CONTRACT) and ``figures/fit.png``: into the run directory where one run is fitted, otherwise under
``out``. Imports neither torch nor transformers.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from sivgap.config.app import run_app
from sivgap.config.settings import Settings

if TYPE_CHECKING:
    from sivgap.dynamics.bootstrap import PromptCurves
    from sivgap.dynamics.curves import Curves

Parameter = Literal["solver_initial", "verifier_initial", "gap_limit", "rate", "beta_over_alpha"]


class FitConfig(Settings):
    """What to fit, and how."""

    runs: str | None = None
    """A run directory, or a pattern of several (in quotes): seeds of one experiment, fitted together."""
    csv: str | None = None
    """A table with the columns epoch, solver_uncertainty, verifier_uncertainty; a column run tells several apart."""
    wandb: str | None = None
    """ENTITY/PROJECT/RUN on W&B."""
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
    solver: Literal["first", "all"] = "first"
    """U_s from the first response of each prompt, as the paper, or from all: the same quantity with less noise."""
    shared: tuple[Parameter, ...] = ("solver_initial", "verifier_initial", "gap_limit", "rate", "beta_over_alpha")
    """Parameters that several runs share; the others are fitted for each run (and reported for the first)."""
    weights: Literal["equal", "stderr", "huber"] = "equal"
    """Equal weights, as the paper; by the logged standard errors; or with bounded influence of outliers."""
    bootstrap: int = Field(default=1000, ge=0, le=100_000)
    """Refits; 0 leaves the bootstrap out."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of the bootstrap."""

    @model_validator(mode="after")
    def _one_source(self) -> FitConfig:
        given = [name for name in ("runs", "csv", "wandb") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                f"expected one of runs=DIR, csv=FILE, wandb=ENTITY/PROJECT/RUN, got {' and '.join(given) or 'none'}"
            )
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
    from sivgap.dynamics.analysis import analyse, as_json, average
    from sivgap.progress import Display
    from sivgap.report.fit_figure import draw_fit
    from sivgap.report.fit_tables import print_fit
    from sivgap.runs.files import write_json

    whole, sources, folder = _read(config)
    runs = [run if config.until is None else run.until(config.until) for run in whole]
    known = average(whole)
    display = Display()
    with display.phase("fitting", 1, "fits") as advance:
        found = analyse(
            runs,
            known.epoch,
            config.horizon,
            config.shared,
            config.weights,
            config.bootstrap,
            config.seed,
            _prompts(config, sources, list(average(runs).epoch)),
        )
        advance(1, 0)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "fit.json", as_json(found), folder)
    picture = folder / "figures" / "fit.png"
    draw_fit(found, known, picture)
    print_fit(found, display)
    display.say(f"picture: {picture}")
    print(folder / "fit.json")


def _prompts(config: FitConfig, folders: list[Path], epochs: list[float]) -> list[PromptCurves]:
    """Curves of every prompt of `folders`; none where a bootstrap does not read them, or some are not stored."""
    from sivgap.runs.load_curves import prompt_curves

    if config.unit == "token" or config.bootstrap == 0:
        return []
    found = [prompt_curves(folder, epochs, config.split, config.solver) for folder in folders]
    return [curves for curves in found if curves is not None] if all(found) else []


def _read(config: FitConfig) -> tuple[list[Curves], list[Path], Path]:
    """The curves, the run directories they come from (none of a file), and where results go."""
    from sivgap.runs.load_curves import common_name, from_csv, from_run, from_wandb, run_folders

    if config.csv:
        path = Path(config.csv)
        return from_csv(path, config.unit, config.solver), [], Path(config.out) / path.stem
    if config.wandb:
        curves = from_wandb(config.wandb, config.split, config.unit, config.solver)
        return [curves], [], Path(config.out) / config.wandb.rpartition("/")[2]
    assert config.runs is not None
    folders = run_folders(config.runs)
    curves_of = [from_run(folder, config.split, config.unit, config.solver) for folder in folders]
    return curves_of, folders, folders[0] if len(folders) == 1 else Path(config.out) / common_name(folders)


if __name__ == "__main__":
    main()
