"""Self-improvement round by round, MG Section 5: where the gap ends, and what becomes of pass@k on the way (their D.3).

A round is the time between two measurements. Settings of a sweep stand side by side, means over their seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sivgap.gap.estimate import FEWEST, too_few
from sivgap.gap.over_n import powers_of_two
from sivgap.gap.pass_at_k import pass_at_k
from sivgap.report.paired import Difference, difference, from_parts
from sivgap.report.record import Record
from sivgap.report.trajectory_figure import column, pass_at_1

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rounds:
    """What the runs of one setting measured on the held-out panel, at the epochs that all of them have.

    Attributes:
        epoch: (T,).
        gap: The generation-verification gap at each epoch, T of them, with its interval.
        informative: Prompts that each of these gaps rests on, the fewest of a seed, (T,); NaN in older runs.
        aggregate_relative, relative: Relative gaps, means over seeds, (T,): gap / missing accuracy, and the mean of
            prompts' ratios without saturated ones; NaN in older runs.
        saturated_fraction: Share of the prompts with every response right, likewise.
        solver_accuracy, verifier_accuracy: Means over seeds, (T,); of the solver over all N.
        ks: k of pass@k, powers of two up to the number of samples.
        passed: pass@k at the first and last epoch, by seed and prompt: (2, k, S, P). None without samples.
    """

    epoch: Array
    gap: tuple[Difference, ...]
    informative: Array
    aggregate_relative: Array
    relative: Array
    saturated_fraction: Array
    solver_accuracy: Array
    verifier_accuracy: Array
    ks: tuple[int, ...]
    passed: Array | None

    def hidden(self, place: int) -> bool:
        """Whether the gap of a round rests on too few prompts to be shown."""
        return bool(self.informative[place] < FEWEST)

    def gone_from(self, margin: float) -> int | None:
        """The round from which on the gap is shown to be within `margin` of 0; None if it is not at the end.

        Shown by two one-sided tests at 5 % (Schuirmann 1987): its 90 % interval lies inside +- margin. That the
        interval holds 0 shows nothing: few prompts bring that about.
        """
        within = [each.margin < margin and not self.hidden(t) for t, each in enumerate(self.gap)]
        others = [t for t, inside in enumerate(within) if not inside]
        first = others[-1] + 1 if others else 0
        return first if first < len(self.gap) else None

    def pass_at_k_change(self) -> dict[int, Difference]:
        """pass@k at the last epoch less that at the first, by k, paired by seed and prompt."""
        if self.passed is None or len(self.epoch) < 2:
            return {}
        return {k: difference(last, first) for k, first, last in zip(self.ks, *self.passed, strict=True)}

    def changed(self, k: int) -> int:
        """Prompts whose pass@k differs between the first and the last epoch."""
        assert self.passed is not None
        first, last = self.passed[:, self.ks.index(k)]
        return int((first != last).any(axis=0).sum())


def read_rounds(settings: Mapping[str, Sequence[Record]]) -> dict[str, Rounds]:
    """The rounds of each setting; `settings` holds its runs, one a seed."""
    return {name: _rounds(records) for name, records in settings.items()}


def rounds_table(rounds: Mapping[str, Rounds]) -> pd.DataFrame:
    """One row a setting and round."""
    rows = []
    for name, each in rounds.items():
        for place, gap in enumerate(each.gap):
            row = {
                "setting": name, "round": place, "epoch": each.epoch[place],
                "solver accuracy": each.solver_accuracy[place], "best of N": each.verifier_accuracy[place],
                "gv_gap": gap.value, "gv_gap_se": gap.stderr,
                **dict.fromkeys(("gv_gap_low", "gv_gap_high")),
                "gv_gap_informative": each.informative[place],
                "gv_gap_aggregate_relative": each.aggregate_relative[place], "gv_gap_relative": each.relative[place],
                "saturated_fraction": each.saturated_fraction[place],
            }  # fmt: skip
            if not each.hidden(place):
                row |= {"gv_gap_low": gap.low, "gv_gap_high": gap.high}
            rows.append(row)
    return pd.DataFrame(rows)


def pass_at_k_table(rounds: Mapping[str, Rounds]) -> pd.DataFrame:
    """One row a setting and k: pass@k before and after, and the change with its 90 % interval."""
    rows = []
    for name, each in rounds.items():
        for k, change in each.pass_at_k_change().items():
            few = each.changed(k) < FEWEST
            first, last = (float(part[each.ks.index(k)].mean()) for part in each.passed)  # type: ignore[union-attr]
            rows.append(
                {
                    "setting": name, "k": k, "before": first, "after": last, "change": change.value,
                    "change_se": change.stderr, "change_low": None if few else change.low,
                    "change_high": None if few else change.high,
                    "change_informative": each.changed(k), "p": change.p_value,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def sentences(rounds: Mapping[str, Rounds], margin: float) -> list[str]:
    """What the tables say; the gap is gone where it is shown to be within `margin` of 0."""
    said = []
    for name, each in rounds.items():
        said.append(f"{name}: {_of_gap(each, margin)}")
        changes = each.pass_at_k_change()
        if changes:
            most, change = max(changes), changes[max(changes)]
            said.append(f"{name}: pass@{most} {_of_change(change, each.changed(most))}")
    return said


def _of_gap(each: Rounds, margin: float) -> str:
    """Whether the gap is open, gone, or neither is shown."""
    first, last, end, rounds = each.gap[0], each.gap[-1], each.gone_from(margin), len(each.gap) - 1
    if each.hidden(rounds):
        return f"of the gap after round {rounds} nothing is shown, {too_few(int(each.informative[-1]))}"
    of = f"{last.value:.3f} (90 %: {last.low:.3f} to {last.high:.3f})"
    shown = f"within {margin:g} of 0 (equivalence test, 5 %)"
    if end == 0:
        return f"there is no gap to begin with: {shown} in every round, at last {of}"
    if end is not None:
        was = too_few(int(each.informative[0])) if each.hidden(0) else f"{first.value:.3f}"
        return f"the gap is gone from round {end} on, {shown}; it was {was} and ends at {of}"
    if last.low > 0:
        return f"the gap is still open after round {rounds}: {of}"
    if last.high < 0:
        return f"the filter harms after round {rounds}, the gap is negative: {of}"
    return f"the gap after round {rounds}, {last.value:.3f}, is not told apart from 0 (at most {last.high:.3f})"


def _of_change(change: Difference, changed: int) -> str:
    if changed < FEWEST:
        return f"changed by {change.value:+.3f}, {too_few(changed)}"
    how = "fell" if change.high < 0 else "rose" if change.low > 0 else "did not move beyond its error"
    return f"{how}: {change.value:+.3f} (90 %: {change.low:+.3f} to {change.high:+.3f})"


def _rounds(records: Sequence[Record]) -> Rounds:
    by_epoch = [{float(line["epoch"]): line for line in record.of("test")} for record in records]
    epochs = sorted(set(by_epoch[0]).intersection(*by_epoch[1:]))
    kept = [[lines[epoch] for epoch in epochs] for lines in by_epoch]
    names = ("gv_gap", "gv_gap_se", "gv_gap_informative", "gv_gap_aggregate_relative", "gv_gap_relative",
             "saturated_fraction", "verifier_accuracy")  # fmt: skip
    found = {name: np.array([column(lines, name) for lines in kept]) for name in names}  # (S, T)
    prompts = int(records[0].of("test")[0]["n_prompts"])
    gaps = tuple(_over_seeds(found["gv_gap"][:, t], found["gv_gap_se"][:, t], prompts) for t in range(len(epochs)))
    ks, passed = _passed(records, epochs)
    return Rounds(
        epoch=np.array(epochs),
        gap=gaps,
        informative=np.where((found["gv_gap_se"] == 0).all(axis=0), 0, found["gv_gap_informative"].min(axis=0)),
        aggregate_relative=found["gv_gap_aggregate_relative"].mean(axis=0),
        relative=found["gv_gap_relative"].mean(axis=0),
        saturated_fraction=found["saturated_fraction"].mean(axis=0),
        solver_accuracy=np.mean([pass_at_1(lines) for lines in kept], axis=0),
        verifier_accuracy=found["verifier_accuracy"].mean(axis=0),
        ks=ks,
        passed=passed,
    )


def _over_seeds(values: Array, errors: Array, prompts: int) -> Difference:
    """The mean of `values` (S,). Seeds share their prompts, so the error over prompts does not shrink with them."""
    parts = [(float(np.mean(errors**2)), prompts - 1)] if np.isfinite(errors).all() else []
    if len(values) > 1:
        parts.append((float(values.var(ddof=1)) / len(values), len(values) - 1))
    return from_parts(float(values.mean()), parts)


def _passed(records: Sequence[Record], epochs: Sequence[float]) -> tuple[tuple[int, ...], Array | None]:
    ends = (epochs[0], epochs[-1])
    if any(end not in record.samples for record in records for end in ends):
        return (), None
    found = []
    for end in ends:
        grids = [_correct(record.samples[end]) for record in records]
        if len({grid.shape for grid in grids}) > 1:
            return (), None
        found.append(np.stack(grids))
    correct = np.stack(found)  # (2, S, P, N)
    samples = correct.shape[-1]
    ks = tuple(powers_of_two(samples))
    right = correct.sum(axis=-1)
    return ks, np.stack([pass_at_k(right, samples, k) for k in ks], axis=1)


def _correct(samples: pd.DataFrame) -> Array:
    """Whether each response is right, (P, N), prompts in the order of their ids."""
    own = samples[samples["sample"] >= 0].sort_values(["problem_id", "sample"])
    return own["correct"].to_numpy(np.float64).reshape(own["problem_id"].nunique(), -1)
