"""Self-improvement round by round, MG Section 5: where the gap ends, and what becomes of pass@k on the way (their D.3).

A round is the time between two measurements. Settings of a sweep stand side by side, means over their seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
        relative_gap, solver_accuracy, verifier_accuracy: Means over seeds, (T,); of the solver over all N, too.
        ks: k of pass@k, powers of two up to the number of samples.
        passed: pass@k at the first and last epoch, by seed and prompt: (2, k, S, P). None without samples.
    """

    epoch: Array
    gap: tuple[Difference, ...]
    relative_gap: Array
    solver_accuracy: Array
    verifier_accuracy: Array
    ks: tuple[int, ...]
    passed: Array | None

    @property
    def saturated(self) -> int | None:
        """The round from which on the 90 % interval of the gap reaches down to 0; None if it does not at the end."""
        open_at = [place for place, each in enumerate(self.gap) if each.low > 0]
        first = open_at[-1] + 1 if open_at else 0
        return first if first < len(self.gap) else None

    def pass_at_k_change(self) -> dict[int, Difference]:
        """pass@k at the last epoch less that at the first, by k, paired by seed and prompt."""
        if self.passed is None or len(self.epoch) < 2:
            return {}
        return {k: difference(last, first) for k, first, last in zip(self.ks, *self.passed, strict=True)}


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
                "gap": gap.value, "gap_se": gap.stderr, "gap_low": gap.low, "gap_high": gap.high,
                "relative gap": each.relative_gap[place],
            }  # fmt: skip
            rows.append(row)
    return pd.DataFrame(rows)


def pass_at_k_table(rounds: Mapping[str, Rounds]) -> pd.DataFrame:
    """One row a setting and k: pass@k before and after, and the change with its 90 % interval."""
    rows = []
    for name, each in rounds.items():
        for k, change in each.pass_at_k_change().items():
            first, last = (float(part[each.ks.index(k)].mean()) for part in each.passed)  # type: ignore[union-attr]
            rows.append(
                {
                    "setting": name, "k": k, "before": first, "after": last, "change": change.value,
                    "change_se": change.stderr, "low": change.low, "high": change.high, "p": change.p_value,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def sentences(rounds: Mapping[str, Rounds]) -> list[str]:
    """What the tables say."""
    said = []
    for name, each in rounds.items():
        last, end = each.gap[-1], each.saturated
        of = f"{last.value:.3f} ({last.low:.3f} to {last.high:.3f})"
        if end is None:
            said.append(f"{name}: the gap is still open after round {len(each.gap) - 1}: {of}")
        elif end > 0:
            said.append(f"{name}: the gap is gone from round {end} on; it was {each.gap[0].value:.3f} and ends at {of}")
        else:
            said.append(f"{name}: there is no gap to begin with")
        changes = each.pass_at_k_change()
        if changes:
            most, change = max(changes), changes[max(changes)]
            how = "fell" if change.high < 0 else "rose" if change.low > 0 else "did not move beyond its error"
            said.append(f"{name}: pass@{most} {how}: {change.value:+.3f} ({change.low:+.3f} to {change.high:+.3f})")
    return said


def _rounds(records: Sequence[Record]) -> Rounds:
    by_epoch = [{float(line["epoch"]): line for line in record.of("test")} for record in records]
    epochs = sorted(set(by_epoch[0]).intersection(*by_epoch[1:]))
    kept = [[lines[epoch] for epoch in epochs] for lines in by_epoch]
    names = ("gv_gap", "gv_gap_se", "gv_gap_relative", "verifier_accuracy")
    found = {name: np.array([column(lines, name) for lines in kept]) for name in names}  # (S, T)
    prompts = int(records[0].of("test")[0]["n_prompts"])
    gaps = tuple(_over_seeds(found["gv_gap"][:, t], found["gv_gap_se"][:, t], prompts) for t in range(len(epochs)))
    ks, passed = _passed(records, epochs)
    return Rounds(
        epoch=np.array(epochs),
        gap=gaps,
        relative_gap=found["gv_gap_relative"].mean(axis=0),
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
