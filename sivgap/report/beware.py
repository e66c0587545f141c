"""What a reader of a run's page might be misled by."""

from __future__ import annotations

import numpy as np

from sivgap.gap.beware import CHOSEN_CUT, beware, measured, run_settings_of
from sivgap.gap.estimate import Array
from sivgap.gap.selection import Selection
from sivgap.report.over_n import unparsed_share
from sivgap.report.record import Record


def beware_of(record: Record) -> list[str]:
    """After the first measurement, and what changed since; nothing of what the run's files are too old to tell."""
    return [*_at_first(record), *_since(record)]


def _since(record: Record) -> list[str]:
    """Training may teach a model not to end: chosen responses that are cut off at a later measurement."""
    shares = [(line["epoch"], line.get("chosen_cut_fraction")) for line in record.of("test")]
    later = [(share, epoch) for epoch, share in shares[1:] if share is not None]
    first = shares[0][1] if shares else None
    if not later or first is None or max(later)[0] <= CHOSEN_CUT or first > CHOSEN_CUT:
        return []
    share, epoch = max(later)
    return [
        f"at epoch {epoch:g} {share:.1%} of the chosen responses are cut off ({first:.1%} at first): the model ends "
        "ever fewer, their uncertainty is a lower bound, and U_v and the gap are not what they were; compare "
        "solver_uncertainty_finished and gap_finished"
    ]


def _at_first(record: Record) -> list[str]:
    """What its first measurement warns of; nothing if its samples are not there, or older than what is told."""
    if not record.samples or "verifier" not in record.config:
        return []
    samples, selection = record.samples[min(record.samples)], Selection.of_record(record.config)
    if not {"correct_strict", "finished", "unparsed"} <= set(samples):
        return []
    prompts = samples["problem_id"].nunique()

    def shaped(name: str) -> Array:
        values: Array = samples[name].to_numpy(np.float64)
        return values.reshape(prompts, -1)

    unparsed = unparsed_share(samples).reshape(prompts, -1)
    correct, strict, score = shaped("correct"), shaped("correct_strict"), shaped("score")
    nll, length, finished = shaped("nll"), shaped("length"), shaped("finished")
    seen = measured(correct, strict, score, unparsed, nll, length, finished, selection)
    return beware(seen, run_settings_of(record.config, selection, prompts))
