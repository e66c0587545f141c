"""Tables 1 and 2 of SV: what external data bring, and whether it matters when they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sivgap.dynamics.interval import LEVEL
from sivgap.report.paired import difference, holm
from sivgap.report.record import Record
from sivgap.report.spread import spread
from sivgap.report.sweep_record import Setting, SweepRecord, cube, label

STRATEGY = "cross.strategy"
_BASELINE = "none"
_CROSS_KEYS = ("cross.",)

_WHO = {"solver": "Table 1: solver accuracy (%)", "verifier": "Table 2: verifier accuracy (%)"}
_SPLITS = {"test": "held out", "train": "training"}

Array = NDArray[np.float64]
Runs = dict[str, list[Record]]
"""Runs of each strategy, in the order none, early, uniform, late, others; the same seeds in each."""


@dataclass(frozen=True)
class CrossGroup:
    """Runs that differ in nothing but external data (and seed): a column of the tables."""

    name: str
    runs: Runs

    @property
    def external(self) -> list[str]:
        return [name for name in self.runs if name != _BASELINE]


def cross_groups(sweep: SweepRecord) -> list[CrossGroup]:
    """The groups of a sweep that have a run without external data and one with; seeds that all strategies share."""
    found: dict[Setting, dict[str, list[Record]]] = {}
    for setting, records in sweep.settings().items():
        outside = tuple((key, value) for key, value in setting if not key.startswith(_CROSS_KEYS))
        strategy = str(records[0].config.get("cross", {}).get("strategy", _BASELINE))
        inside = [(k, v) for k, v in setting if k.startswith(_CROSS_KEYS) and k != STRATEGY]
        name = strategy if strategy == _BASELINE or not inside else f"{strategy} ({label(tuple(inside))})"
        found.setdefault(outside, {})[name] = records
    groups = []
    for outside, runs in found.items():
        seeds = set.intersection(*({r.config["seed"] for r in records} for records in runs.values()))
        if _BASELINE in runs and len(runs) > 1 and seeds:
            order = sorted(runs, key=lambda n: _rank(n))
            kept = {n: [r for r in runs[n] if r.config["seed"] in seeds] for n in order}
            groups.append(CrossGroup("" if not outside else label(outside), kept))
    return groups


def _rank(name: str) -> tuple[int, str]:
    known = (_BASELINE, "early", "uniform", "late")
    return (known.index(name) if name in known else len(known)), name


def paper_table(groups: Sequence[CrossGroup], who: str) -> tuple[str, pd.DataFrame]:
    """Title and rows of Table 1 (``solver``) or Table 2 (``verifier``): mean and deviation over seeds, in %."""
    columns = {}
    for group in groups:
        for split, shown in _SPLITS.items():
            title = f"{group.name}, {shown}" if group.name else shown
            columns[title] = _column(group, split, who)
    return _WHO[who], pd.DataFrame(columns).rename_axis("").reset_index()


def _column(group: CrossGroup, split: str, who: str) -> dict[str, str]:
    ends = cube(group.runs, True, split, who)
    first = cube({_BASELINE: group.runs[_BASELINE]}, False, split, who)[0]
    by_seed = {name: 100 * ends[i].mean(axis=1) for i, name in enumerate(group.runs)}
    external = np.stack([by_seed[name] for name in group.external])
    average, initial = external.mean(axis=0), 100 * first.mean(axis=1)
    apart = spread(ends[1:])
    rows = {"Initial": _cell(initial), "Baseline (no external data)": _cell(by_seed[_BASELINE])}
    rows |= {name.capitalize(): _cell(by_seed[name]) for name in group.external}
    rows |= {
        "Max-Min": f"{100 * apart.value:.2f}",
        "Max-Min expected if equal": "" if apart.if_equal is None else f"{100 * apart.if_equal:.2f}",
        "Avg": _cell(average),
        "Avg vs Initial": f"{float((average - initial).mean()):+.2f}",
        "Avg vs Baseline": f"{float((average - by_seed[_BASELINE]).mean()):+.2f}",
    }
    if who == "verifier":
        rows |= _as_data_arrive(group, split, initial)
    return rows


def _as_data_arrive(group: CrossGroup, split: str, initial: Array) -> dict[str, str]:
    """The verifier of ``early`` at epoch 0, as the data find it: before any training (training panel alone)."""
    lines = [record.of(split)[0] for record in group.runs.get("early", [])]
    values = [line.get("verifier_accuracy_given") for line in lines]
    if not values or any(value is None for value in values):
        return {"Early(0)": "", "Early(0) vs Initial": ""}
    early = 100 * np.array(values, dtype=np.float64)
    return {"Early(0)": _cell(early), "Early(0) vs Initial": f"{float((early - initial).mean()):+.2f}"}


def _cell(values: Array) -> str:
    return f"{values.mean():.2f}" + (f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else "")


def solver_ends(group: CrossGroup) -> dict[str, Array]:
    """The solver's accuracies at the end, held out, of each strategy: (S, P)."""
    return dict(zip(group.runs, cube(group.runs, True, "test", "solver"), strict=True))


def pairs_table(group: CrossGroup, ends: Mapping[str, Array], margin: float) -> pd.DataFrame:
    """Every strategy against the baseline and against every other, on the solver's accuracy, held out (points).

    Columns: the difference with its 90 % interval; the chance of it were there none; the chance of it were the two not
    within `margin` (a share) of each other; and the smallest margin within which they are equivalent at 5 %. The second
    is also shown after Holm's adjustment: over all strategies against the baseline, and over all pairs of strategies.
    """
    against, between = [(name, _BASELINE) for name in group.external], list(combinations(group.external, 2))
    pairs = [(a, b, difference(ends[a], ends[b])) for a, b in (*against, *between)]
    p_values = [found.p_value for _, _, found in pairs]
    adjusted = [*holm(p_values[: len(against)]), *holm(p_values[len(against) :])]
    rows = []
    for (a, b, found), together in zip(pairs, adjusted, strict=True):
        rows.append(
            {
                "strategies": f"{a} - {b}",
                "points": f"{100 * found.value:+.2f}",
                "90 %": f"{100 * found.low:+.2f} to {100 * found.high:+.2f}",
                "p, no difference": f"{found.p_value:.3f}",
                "p, Holm": f"{together:.3f}",
                f"p, not within {100 * margin:g}": f"{found.equivalent(margin):.3f}",
                "within": f"{100 * found.margin:.2f}",
            }
        )
    return pd.DataFrame(rows)


def sentences(group: CrossGroup, ends: Mapping[str, Array], margin: float) -> list[str]:
    """What the tests say, in plain words.

    "Above" and "below" are said at 5 % over all strategies together (Holm): of strategies that change nothing, one or
    more is called above in at most one sweep of twenty. The chance of either, two-sided, is 10 %, as of the intervals.
    """
    seeds = len(next(iter(ends.values())))
    where = f"{group.name}: " if group.name else ""
    differences = [difference(ends[name], ends[_BASELINE]) for name in group.external]
    adjusted = holm([found.p_value for found in differences])
    said = []
    for name, found, p in zip(group.external, differences, adjusted, strict=True):
        verdict = "not told apart from" if p > 1 - LEVEL else "above" if found.value > 0 else "below"
        said.append(
            f"{where}{name} is {verdict} the baseline: {100 * found.value:+.1f} points (90 %: {100 * found.low:+.1f} "
            f"to {100 * found.high:+.1f}; p {p:.3f} by Holm over {len(differences)})."
        )
    if len(group.external) > 1:
        said.append(where + _timing([ends[name] for name in group.external], margin))
    if seeds == 1:
        said.append(
            f"{where}One seed: intervals and tests compare these single runs on the population of prompts; how another "
            "seed would turn out, they do not know."
        )
    return said


def _timing(ends: Sequence[Array], margin: float) -> str:
    """Whether it matters when external data come; `ends` (S, P) of each strategy."""
    apart = spread(np.stack(ends))
    widest = max(difference(a, b).margin for a, b in combinations(ends, 2))
    equal = "the strategies are equivalent" if widest <= margin else "equivalence of the strategies is not shown"
    expected = (
        "" if apart.if_equal is None or apart.p_value is None
        else f" ({100 * apart.if_equal:.1f} expected if equal, p {apart.p_value:.2f})"
    )  # fmt: skip
    return (
        f"Timing: the means lie {100 * apart.value:.1f} points apart{expected}; within {100 * margin:g} points {equal} "
        f"(they are within {100 * widest:.1f})."
    )


def by_setting(settings: Mapping[str, Sequence[Record]]) -> pd.DataFrame:
    """One row a setting of any sweep: mean and deviation over seeds, held out, at the end."""
    shown = {
        "solver accuracy": "solver_accuracy", "best of N": "verifier_accuracy", "U_s": "solver_uncertainty",
        "U_v": "verifier_uncertainty", "gap": "gap", "GV-gap": "gv_gap",
    }  # fmt: skip
    rows = []
    for name, records in settings.items():
        row: dict[str, object] = {"setting": name, "seeds": len(records)}
        for title, column in shown.items():
            values = np.array([record.of("test")[-1][column] for record in records], dtype=np.float64)
            row[title] = f"{values.mean():.3f}" + (f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else "")
        rows.append(row)
    return pd.DataFrame(rows)
