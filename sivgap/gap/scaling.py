"""The relative gap over pre-training FLOPs (MG Sec. 4): a straight line in their logarithm, with its uncertainty.

Two uncertainties are kept apart. The t interval takes the models as a sample: what lies off the line is scatter from
model to model. The bootstrap keeps the models and resamples prompts: what another panel would change.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student

from sivgap.dynamics.interval import LEVEL
from sivgap.errors import ConfigError
from sivgap.gap.estimate import DRAWS, Array, Estimate, bootstrap

FEWEST_MODELS = 3
"""A line through two has no residuals."""

COLUMNS = ("model", "parameters", "tokens", "accuracy")


def pretraining_flops(parameters: Array, tokens: Array) -> Array:
    """6 N D, of N parameters and D tokens."""
    return 6 * parameters * tokens


@dataclass(frozen=True)
class Line:
    """gap = intercept + slope * log10(FLOPs), by least squares.

    Attributes:
        slope: Per factor of ten in FLOPs, with the t interval.
        intercept: At log10(FLOPs) = `centre`, with the t interval; at one FLOP it would say nothing.
        r: Pearson's; None where all gaps are equal.
        centre: Mean log10(FLOPs) of the models.
        spread: Sum of squared distances from it.
        scatter: Standard deviation of the residuals, K - 2 degrees of freedom.
        models: K.
        slope_over_prompts, intercept_over_prompts: The same two, with bootstrap intervals over prompts; None without
            gaps by prompt.
    """

    slope: Estimate
    intercept: Estimate
    r: float | None
    centre: float
    spread: float
    scatter: float
    models: int
    slope_over_prompts: Estimate | None = None
    intercept_over_prompts: Estimate | None = None

    def band(self, flops: Array) -> pd.DataFrame:
        """Columns flops, gap, low, high: where 90 % of further models would lie."""
        assert self.slope.value is not None
        assert self.intercept.value is not None
        away = np.log10(flops) - self.centre
        line = self.intercept.value + self.slope.value * away
        error = self.scatter * np.sqrt(1 + 1 / self.models + away**2 / self.spread)
        half = _quantile(self.models) * error
        return pd.DataFrame({"flops": flops, "gap": line, "low": line - half, "high": line + half})


def fit_line(
    flops: Array, gaps: Array, by_prompt: Array | None = None, draws: int = DRAWS, seed: int = 0
) -> Line | None:
    """The line through K models' gaps; None for fewer than three models, or three of the same FLOPs.

    Args:
        flops: (K,).
        gaps: Relative (or other) gaps, (K,).
        by_prompt: Their gaps by prompt on one panel, (K, P), NaN where a prompt does not count; their means are `gaps`.
        draws: Bootstrap samples of prompts.
        seed: Of the bootstrap.
    """
    x = np.log10(flops)
    if len(np.unique(x)) < 2 or len(x) < FEWEST_MODELS:
        return None
    intercept, slope = _least_squares(x, gaps)
    away = x - x.mean()
    spread = float(away @ away)
    scatter = float(np.sqrt(((gaps - intercept - slope * away) ** 2).sum() / (len(x) - 2)))
    resampled = (None, None) if by_prompt is None else _over_prompts(x, by_prompt, draws, seed)
    return Line(
        slope=_t_interval(slope, scatter / np.sqrt(spread), len(x)),
        intercept=_t_interval(intercept, scatter / np.sqrt(len(x)), len(x)),
        r=float(np.corrcoef(x, gaps)[0, 1]) if np.ptp(gaps) > 0 else None,
        centre=float(x.mean()),
        spread=spread,
        scatter=scatter,
        models=len(x),
        intercept_over_prompts=resampled[0],
        slope_over_prompts=resampled[1],
    )


def _over_prompts(x: Array, by_prompt: Array, draws: int, seed: int) -> tuple[Estimate, Estimate]:
    """Intercept and slope with intervals over resampled prompts."""
    counted, filled = np.isfinite(by_prompt).astype(np.float64), np.nan_to_num(by_prompt)

    def statistic(counts: Array) -> Array:
        with np.errstate(invalid="ignore"):
            return np.array(_least_squares(x, (filled @ counts) / (counted @ counts)))

    intercept, slope = bootstrap(statistic, by_prompt.shape[1], draws, seed)
    return intercept, slope


def read_models(path: Path) -> pd.DataFrame:
    """A CSV of published or measured models: columns `COLUMNS` and one or more that begin with ``gap``.

    `parameters` and `tokens` are counts (7e9, 2e12); a gap may be empty where a model was not measured, tokens where
    they are not known. Adds a column flops.

    Raises:
        ConfigError: If it cannot be read, lacks a column, or holds something else than numbers.
    """
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as a CSV: {error}") from error
    gaps = gap_columns(frame)
    missing = [name for name in COLUMNS if name not in frame]
    if missing or not gaps:
        wanted = ", ".join(missing) or "any that begins with gap, such as gap_cot"
        raise ConfigError(f"{path} lacks the columns {wanted}; it has {', '.join(map(str, frame.columns))}.")
    for name in (*COLUMNS[1:], *gaps):
        try:
            frame[name] = pd.to_numeric(frame[name]).astype(float)
        except (ValueError, TypeError) as error:
            said = f"{path}: the column {name} is not all numbers ({error}); leave unknown cells empty."
            raise ConfigError(said) from error
    size = frame[["parameters", "tokens"]].to_numpy(np.float64)
    if not (np.isfinite(size[:, 0]).all() and (np.nan_to_num(size, nan=1.0) > 0).all() and not np.isinf(size).any()):
        raise ConfigError(
            f"{path} has models whose parameters or tokens are no positive numbers; write 7e9, 2e12, and leave tokens "
            "empty where they are not known."
        )
    return frame.assign(flops=pretraining_flops(size[:, 0], size[:, 1]))


def gap_columns(frame: pd.DataFrame) -> list[str]:
    """The columns that begin with ``gap`` and are no standard error or interval end of another."""
    of_another = ("_se", "_low", "_high")
    return [name for name in map(str, frame.columns) if name.startswith("gap") and not name.endswith(of_another)]


def scaling_table(models: pd.DataFrame) -> pd.DataFrame:
    """Of `read_models`: one row a gap column that three models or more have.

    Columns gap, models, slope (a factor of ten in FLOPs) and intercept with _se, _low, _high, r, centre; and beside
    that the accuracy, which rises with FLOPs, too: r_accuracy, and r_given_accuracy (with _low, _high), what FLOPs say
    of the gap once the accuracy is known.
    """
    rows = []
    for name in gap_columns(models):
        known = models[models[name].notna() & models["flops"].notna()]
        flops, gaps, accuracy = (known[c].to_numpy(np.float64) for c in ("flops", name, "accuracy"))
        line = fit_line(flops, gaps)
        if line is not None:
            columns = {**line.slope.columns("slope"), **line.intercept.columns("intercept")}
            rows.append(
                {
                    "gap": name, "models": line.models, **columns, "r": line.r, "centre": line.centre,
                    "r_accuracy": _pearson(gaps, accuracy),
                    **_without(partial_correlation(np.log10(flops), gaps, accuracy), "r_given_accuracy"),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def partial_correlation(x: Array, y: Array, given: Array) -> Estimate:
    """Pearson's r of what `given` (K,) leaves of `x` and of `y`, with Fisher's interval, the models being the sample.

    Undefined for fewer than five models, or where nothing is left.
    """
    if len(x) < FEWEST_MODELS + 2 or np.ptp(given) == 0:
        return Estimate(None)
    left = [values - np.polyval(np.polyfit(given, values, 1), given) for values in (x, y)]
    r = _pearson(*left)
    if r is None or abs(r) >= 1:
        return Estimate(r)
    half = float(norm.ppf((1 + LEVEL) / 2)) / np.sqrt(len(x) - 4)
    low, high = (float(np.tanh(np.arctanh(r) + side * half)) for side in (-1, 1))
    return Estimate(r, None, low, high)


def _without(estimate: Estimate, name: str) -> dict[str, float | int | None]:
    """Columns of an estimate that has an interval and no standard error."""
    return {key: value for key, value in estimate.columns(name).items() if not key.endswith("_se")}


def _pearson(x: Array, y: Array) -> float | None:
    scale = max(float(np.abs(x).max()), float(np.abs(y).max()))
    flat = min(float(np.ptp(x)), float(np.ptp(y))) <= 1e-12 * scale
    return None if flat else float(np.corrcoef(x, y)[0, 1])


def _least_squares(x: Array, y: Array) -> tuple[float, float]:
    """Value at the mean of `x`, and slope."""
    away = x - x.mean()
    return float(y.mean()), float(away @ y / (away @ away))


def _quantile(models: int) -> float:
    return float(student.ppf((1 + LEVEL) / 2, models - 2))


def _t_interval(value: float, error: float, models: int) -> Estimate:
    half = _quantile(models) * error
    return Estimate(value, float(error), float(value - half), float(value + half))
