"""Evaluations side by side: what matters on the left, then what they differ in, then the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sivgap.report.evaluation_record import Evaluation
from sivgap.report.evaluation_tables import number, summary
from sivgap.report.words import about_scores, kept_share, rests_on

_NUMBERS = (
    "solver_accuracy", "gv_gap", "gv_gap_aggregate_relative", "gv_gap_relative", "score_auroc_within", "auroc",
    "unparsed_fraction", "likelihood_auroc_within", "likelihood_auroc", "score_gain", "brier", "calibration_error",
    "finished_fraction", "saturated_fraction",
)  # fmt: skip
"""Of ``evaluation.json``, in this order; those that an evaluation lacks have no column."""

_SAME = ("generator", "judge", "verifier", "dataset", "prompts", "samples", "weight", "empty", "note", "evaluation")

_SHOWN_OTHERWISE = (
    "runs_dir", "store", "fresh", "launch", "pass_at", "model.name", "model.parameters", "model.tokens",
    "model.licence", "model.lora_targets", "verifier.name", "verifier.model.path", "dataset.name", "weight",
)  # fmt: skip
"""Settings, or groups of them, that have no column: names and weights have one of their own, the others change no
number of an evaluation, or go with the model."""


def overview(found: Sequence[Evaluation]) -> pd.DataFrame:
    """One row an evaluation, numbers alone: for programs."""
    return _overview(found).drop(columns="place")


def _overview(found: Sequence[Evaluation]) -> pd.DataFrame:
    """As `overview`, with each evaluation's place in `found`."""
    rows = []
    settings = _differing(found)
    for place, (each, name) in enumerate(zip(found, names(found), strict=True)):
        said = summary(each)
        row: dict[str, Any] = {"place": place, "name": name, **_estimates(said), "kept": kept_share(each)}
        row |= {column: values[place] for column, values in settings.items()}
        row |= {key: said[key] for key in ("generator", "judge", "verifier", "dataset", "prompts", "samples")}
        row |= {"weight": weight_name(each), "empty": said["empty_prompts"], "note": about_scores(each)}
        rows.append({**row, "evaluation": each.name})
    return pd.DataFrame(rows).sort_values(["dataset", "verifier", "generator", "judge", *settings], ignore_index=True)


def overview_shown(found: Sequence[Evaluation]) -> pd.DataFrame:
    """The same for readers: each number with its error or interval in one cell, and words where it would mislead."""
    rows = []
    for row in _overview(found).to_dict("records"):
        each = found[row["place"]]
        said, note = summary(each), about_scores(each)
        few = rests_on(each.correct)
        shown = {
            "": row["name"],
            "accuracy, all N [90 %]": number(said["solver_accuracy"]),
            "gap": note or number(said["gv_gap"]),
            "relative gap, aggregate": "-" if note else number(said["gv_gap_aggregate_relative"]),
            "relative gap, mean over prompts": "-" if note else number(said["gv_gap_relative"]),
            "AUROC within prompts": number(said["score_auroc_within"]),
            "AUROC, pooled": number(said["auroc"])
            + (f" ({few})" if few and said["auroc"]["value"] is not None else ""),
            "unparsed": f"{said['unparsed_fraction']['value']:.1%}",
            "kept": f"{row['kept']:.1%}",
        }
        rest = {name: value for name, value in row.items() if not str(name).startswith(_NUMBERS)}
        rows.append(shown | {str(name): v for name, v in rest.items() if name not in ("place", "name", "note", "kept")})
    return pd.DataFrame(rows)


def names(found: Sequence[Evaluation]) -> list[str]:
    """What tells each evaluation from the others, in as few words as do; its directory where nothing does."""
    told = [[e.generator for e in found], [e.verifier for e in found],
            [e.judge if e.judge != e.generator else "" for e in found],
            [str(e.config["dataset"]["name"]) for e in found], [weight_name(e) for e in found]]  # fmt: skip
    told += [[f"{column} {value}" for value in values] for column, values in _differing(found).items()]
    made = [""] * len(found)
    for number_of_part, values in enumerate(told):
        needed = number_of_part < 2 or len(set(made)) < len(found)
        if needed and len(set(values)) > 1:
            made = [", ".join(filter(None, pair)) for pair in zip(made, values, strict=True)]
    return [name if name and made.count(name) == 1 else e.name for name, e in zip(made, found, strict=True)]


def weight_name(found: Evaluation) -> str:
    """``tau 0.5``, ``quantile 0.25`` or ``beta 0.1``."""
    asked = found.config["weight"]
    key = {"threshold": "tau", "quantile": "quantile", "exponential": "beta"}[asked["kind"]]
    return f"{key} {asked[key]:g}"


def _estimates(said: dict[str, Any]) -> dict[str, float | None]:
    row: dict[str, float | None] = {}
    for name in _NUMBERS:
        if name in said:
            row |= {name: said[name]["value"], f"{name}_se": said[name]["stderr"]}
        if name == "gv_gap":
            row |= {f"gv_gap_{part}": said[name][part] for part in ("low", "high", "informative")}
    return row


def _differing(found: Sequence[Evaluation]) -> dict[str, list[Any]]:
    """Settings in which the evaluations differ: column, and its values in their order.

    A column is called by the last part of its key, or by all of it where two would be called alike.
    """
    flat = [dict(_flat(each.config)) for each in found]
    keys = list(dict.fromkeys(key for settings in flat for key in settings))
    keys = [key for key in keys if not any(key == name or key.startswith(f"{name}.") for name in _SHOWN_OTHERWISE)]
    keys = [key for key in keys if len({str(settings.get(key)) for settings in flat}) > 1]
    last = [key.rpartition(".")[2] for key in keys]
    taken = {*_SAME, *_NUMBERS, "name", "kept", "place"}
    columns = [
        name if last.count(name) == 1 and name not in taken else key for key, name in zip(keys, last, strict=True)
    ]
    return {column: _values(key, [s.get(key) for s in flat]) for key, column in zip(keys, columns, strict=True)}


def _values(key: str, values: Sequence[Any]) -> list[Any]:
    """Values of a setting as cells; of paths the last part, where that tells them apart."""
    paths = {str(value) for value in values if value is not None}
    short = key.endswith("path") and len({Path(path).name for path in paths}) == len(paths)
    return [
        Path(value).name if short and isinstance(value, str)
        else value if isinstance(value, int | float | str) or value is None else str(value)
        for value in values
    ]  # fmt: skip


def _flat(settings: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Every dotted key with its value."""
    found: list[tuple[str, Any]] = []
    for key, value in settings.items():
        found += _flat(value, f"{before}{key}.") if isinstance(value, dict) else [(f"{before}{key}", value)]
    return found
