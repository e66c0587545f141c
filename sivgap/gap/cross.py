"""Generators against verifiers (MG's cross-verification): whose responses does whose judgement improve?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sivgap.errors import ConfigError
from sivgap.gap.estimate import Array, Mask, mean
from sivgap.gap.gap import Gap

Grid = Mapping[tuple[str, str], Gap]
"""Of (generator, verifier), on one panel of prompts; not every pair need be measured."""


def cross_table(grid: Grid) -> pd.DataFrame:
    """One row a cell: columns generator, verifier, gv_gap with _se, _low, _high, and the rest of `Gap.columns`."""
    return pd.DataFrame([{"generator": g, "verifier": v, **cell.columns("gv_gap")} for (g, v), cell in grid.items()])


def pivot(grid: Grid) -> pd.DataFrame:
    """The gaps, one row a generator and one column a verifier, in the order of `grid`; missing where not measured."""
    generators, verifiers = (list(dict.fromkeys(names)) for names in zip(*grid, strict=True))
    return pd.DataFrame(
        [[grid[g, v].estimate.value if (g, v) in grid else None for v in verifiers] for g in generators],
        index=pd.Index(generators, name="generator"),
        columns=pd.Index(verifiers, name="verifier"),
    ).astype(float)


def own_against_others(grid: Grid) -> pd.DataFrame:
    """The diagonal against the rest: does a model judge its own responses better or worse than others judge them?

    One row a generator that itself and another verify, and one named "all", their average. Columns generator, own (its
    gap), others (mean gap of the others on its responses), difference; each with _se, _low, _high, paired by prompt,
    over those that count in every cell of the row.
    """
    if len({cell.prompts for cell in grid.values()}) > 1:
        raise ConfigError("A cross-verification grid is of one panel; its cells have differing numbers of prompts.")
    found: dict[str, tuple[Mask, Array, Array]] = {}
    for generator in dict.fromkeys(g for g, _ in grid):
        others = [cell for (g, v), cell in grid.items() if g == generator != v]
        if (generator, generator) in grid and others:
            own = grid[generator, generator]
            used = np.all([cell.used for cell in (own, *others)], axis=0)
            found[generator] = used, own.by_prompt, np.mean([cell.by_prompt for cell in others], axis=0)
    if found:
        parts = list(zip(*found.values(), strict=True))
        found["all"] = np.all(parts[0], axis=0), np.mean(parts[1], axis=0), np.mean(parts[2], axis=0)
    return pd.DataFrame(
        [
            {
                "generator": generator,
                **mean(own[used]).columns("own"),
                **mean(others[used]).columns("others"),
                **mean((own - others)[used]).columns("difference"),
            }
            for generator, (used, own, others) in found.items()
        ]
    )
