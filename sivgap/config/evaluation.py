"""Every setting that `sivgap.evaluate` has beside those of a solver (`schema.SolverConfig`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sivgap.config.schema import SolverConfig
from sivgap.config.settings import FilePath, Settings


class WeightConfig(Settings):
    """w of the generation-verification gap (MG Def. 2.1): how much each response counts, by its score."""

    kind: Literal["threshold", "quantile", "exponential"] = "threshold"
    """``threshold`` keeps scores from ``tau`` on, ``quantile`` each prompt's best share, ``exponential`` weighs by
    exp(score / beta)."""
    tau: float = Field(default=0.5, ge=0, le=1)
    quantile: float = Field(default=0.25, gt=0, le=1)
    """Share of each prompt's responses that is kept."""
    beta: float = Field(default=0.1, gt=0)
    empty: Literal["all", "drop", "zero"] = "all"
    """A prompt whose filter keeps nothing: keep all its responses (gap 0), leave it out, or count utility 0."""
    finished: Literal["first", "any"] = "first"
    """Best of N: a response that was cut off is chosen only for a prompt none of whose responses ended by itself, or
    like the others (``any``). The gap itself weighs all responses by their scores (MG Def. 2.1)."""
    saturated: Literal["drop", "zero"] = "drop"
    """A prompt all of whose responses are right, where the relative gap is 0/0: leave it out, or count 0."""


class PanelConfig(Settings):
    split: Literal["test", "train"] = "test"
    """Which problems: held out, or those of training."""
    prompts: int | None = Field(default=None, ge=1)
    """How many of them, a seeded draw nested in this number; null takes all."""


class EvaluateConfig(SolverConfig):
    """One evaluation by `sivgap.evaluate`."""

    panel: PanelConfig = PanelConfig()
    weight: WeightConfig = WeightConfig()
    pass_at: list[Annotated[int, Field(ge=1)]] = Field(default=[1, 2, 4, 8, 16, 32, 64, 128])
    """k of pass@k; those above ``n`` are left out."""
    store: FilePath = "runs/store"
    """Where responses and verdicts are kept, for every later evaluation that can use them."""
