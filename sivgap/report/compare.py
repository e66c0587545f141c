"""Two runs or evaluations of one panel: paired differences, where they diverge, problems won and lost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.markup import escape
from rich.table import Table
from scipy.stats import binomtest

from sivgap.dynamics.interval import LEVEL
from sivgap.errors import ConfigError, RunError
from sivgap.report.compare_figure import draw_comparison
from sivgap.report.compare_sides import METRICS, Side, read_side
from sivgap.report.examples import Examples, example
from sivgap.report.page import page_of_comparison
from sivgap.report.paired import difference, holm
from sivgap.report.sweep_record import flat_config
from sivgap.report.tables import cells, write_table
from sivgap.runtime.display import Display
from sivgap.runtime.files import write_text
from sivgap.runtime.sanitize import sanitize

_EXAMPLES = 4
"""Problems won, and lost, whose responses are shown."""


@dataclass(frozen=True)
class Comparison:
    """B less A on P problems that both measured.

    Attributes:
        differences: A row a metric and epoch: metric, epoch, a, b, difference, low, high (90 % over problems), p (none,
            two-sided), p_holm (over the epochs of a metric).
        won, lost: Problems whose chosen response is right in B alone, and in A alone, at the last common epoch.
        p_value: Of as uneven a split of these by chance (exact, McNemar's test); None where there are none.
        settings: Keys that differ, with both values.
        only: Problems that only A, and only B, measured; they are left out.
    """

    names: tuple[str, str]
    prompts: int
    epoch: float
    differences: pd.DataFrame
    won: list[str]
    lost: list[str]
    p_value: float | None
    settings: pd.DataFrame
    only: tuple[int, int]


def report_comparison(a: Path, b: Path, split: str, out: Path, display: Display) -> Path:
    """Write page, tables and figure; print the differences at the end and what they say."""
    first, second = read_side(a, split), read_side(b, split)
    found = compare(first, second)
    where = out / f"{first.name}-against-{second.name}"[:200]
    said = sentences(found)
    tables = {
        "differences": ("B less A, 90 % over the population of prompts", found.differences),
        "settings": ("Settings that differ", found.settings),
        "problems": ("Problems won and lost by B", _problems(found)),
    }
    for name, (_, table) in tables.items():
        write_table(table, where / "tables" / name)
    if found.differences["epoch"].nunique() > 1:
        draw_comparison(found.differences, found.names, where / "figures" / "differences.png")
    write_text(
        where / "report.html", page_of_comparison(found, said, list(tables.values()), _shown(found, first, second))
    )
    display.console.print(f"A  {escape(sanitize(first.name))}\nB  {escape(sanitize(second.name))}", highlight=False)
    _print(found, display)
    for sentence in said:
        display.say(sentence)
    return where / "report.html"


def compare(a: Side, b: Side) -> Comparison:
    """Pair two sides by problem and epoch.

    Raises:
        ConfigError: If one is a run and the other an evaluation.
        RunError: If they have no epoch, or fewer than two problems, in common.
    """
    if a.kind != b.kind:
        raise ConfigError(f"{a.name} is of a {a.kind}, {b.name} of a {b.kind}; expected two of one kind")
    epochs = sorted(a.prompts.keys() & b.prompts.keys())
    if not epochs:
        raise RunError(f"{a.name} and {b.name} were not measured at any common epoch")
    theirs = [side.prompts[epochs[0]].index for side in (a, b)]
    both = theirs[0].intersection(theirs[1])
    if len(both) < 2:
        raise RunError(
            f"{a.name} and {b.name} have {len(both)} problems in common of {len(theirs[0])} and {len(theirs[1])}; "
            "expected two of one panel (the same dataset, split and seed of the data)"
        )
    rows = []
    for metric in METRICS:
        each = []
        for epoch in epochs:
            one, other = (side.prompts[epoch].loc[both, metric].to_numpy(np.float64) for side in (a, b))
            apart = difference(other[None], one[None])
            each.append(
                {
                    "metric": metric, "epoch": epoch, "a": one.mean(), "b": other.mean(),
                    "difference": apart.value, "low": apart.low, "high": apart.high, "p": apart.p_value,
                }
            )  # fmt: skip
        adjusted = holm([row["p"] for row in each])
        rows += [{**row, "p_holm": p} for row, p in zip(each, adjusted, strict=True)]
    right = [side.prompts[epochs[-1]].loc[both, "verifier_accuracy"] == 1 for side in (a, b)]
    won, lost = both[right[1] & ~right[0]], both[right[0] & ~right[1]]
    total = len(won) + len(lost)
    return Comparison(
        (a.name, b.name), len(both), epochs[-1], pd.DataFrame(rows), list(map(str, won)), list(map(str, lost)),
        float(binomtest(len(won), total).pvalue) if total else None, _settings(a, b),
        (len(theirs[0]) - len(both), len(theirs[1]) - len(both)),
    )  # fmt: skip


def sentences(found: Comparison) -> list[str]:
    """What the comparison says, in plain words."""
    said = []
    for metric, label in METRICS.items():
        rows = found.differences[found.differences["metric"] == metric]
        said.append(f"{label}: {_verdict(rows, metric.endswith('accuracy'))}.")
    chance = "" if found.p_value is None else f" (p {found.p_value:.3f} of as uneven a split by chance)"
    said.append(
        f"B's chosen response is right where A's is wrong for {len(found.won)} of {found.prompts} problems, the other "
        f"way round for {len(found.lost)}{chance}."
    )
    if any(found.only):
        said.append(
            f"{found.only[0]} problems that only A measured, and {found.only[1]} that only B did, are left out."
        )
    said.append("These are two single runs: how other seeds would differ is not in the intervals.")
    return said


def _verdict(rows: pd.DataFrame, share: bool) -> str:
    """Whether, and from which epoch on, two curves are told apart at 10 %, over all epochs together."""
    last = rows.iloc[-1]
    scale, unit = (100, "points") if share else (1, "nats")
    value, low, high = (f"{scale * last[name]:+.2f}" for name in ("difference", "low", "high"))
    apart = (rows["p_holm"] <= 1 - LEVEL).to_numpy()
    same = apart & (np.sign(rows["difference"]) == np.sign(last["difference"])).to_numpy()
    end = f"{value} {unit} at the end (90 %: {low} to {high})"
    if len(rows) == 1:
        return f"{value} {unit} (90 %: {low} to {high})"
    if not apart.any():
        alone = last["low"] * last["high"] > 0
        why = ", which is of that look alone" if alone else ""
        return f"not told apart at any of {len(rows)} measurements (by Holm, over all of them); {end}{why}"
    if apart[-1]:
        since = rows["epoch"].iloc[len(rows) - int(np.argmin(np.append(same[::-1], False)))]
        return f"B is {'above' if last['difference'] > 0 else 'below'} A from epoch {since:g} on; {end}"
    at = ", ".join(f"{epoch:g}" for epoch in rows["epoch"][apart])
    return f"told apart at epoch {at}, not at the end; {end}"


def _settings(a: Side, b: Side) -> pd.DataFrame:
    one, other = flat_config(a.config), flat_config(b.config)
    keys = [key for key in dict.fromkeys([*one, *other]) if one.get(key) != other.get(key)]
    return pd.DataFrame({"key": keys, "A": [one.get(k, "") for k in keys], "B": [other.get(k, "") for k in keys]})


def _problems(found: Comparison) -> pd.DataFrame:
    rows = [(name, "won") for name in found.won] + [(name, "lost") for name in found.lost]
    return pd.DataFrame(rows, columns=["problem_id", "by B"])


def _shown(found: Comparison, a: Side, b: Side) -> Examples:
    """Responses of the first problems won and lost, B's before A's; none of evaluations, which keep them elsewhere."""
    titles = "won: B's chosen response, right, and A's", "lost: B's chosen response, and A's, right"
    shown = []
    for title, names in zip(titles, (found.won, found.lost), strict=True):
        pairs = zip(*(side.chosen(names[:_EXAMPLES]) for side in (b, a)), strict=True)
        shown.append((title, [example(row) for pair in pairs for row in pair]))
    return [] if a.samples is None else shown


def _print(found: Comparison, display: Display) -> None:
    last = found.differences[found.differences["epoch"] == found.epoch].drop(columns=["epoch", "p_holm"])
    table = Table(title=f"{found.prompts} problems, epoch {found.epoch:g}, B less A", title_justify="left")
    for i, name in enumerate(last.columns):
        table.add_column(name, justify="right" if i else "left")
    for row in cells(last):
        table.add_row(*map(escape, row))
    display.console.print(table)
