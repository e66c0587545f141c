"""An evaluation as its directory holds it: ``scores.parquet``, ``config.yaml``, ``status.json``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sivgap.config.model import name_of, shown_name
from sivgap.errors import RunError
from sivgap.gap.beware import Measured, measured
from sivgap.gap.estimate import Estimate
from sivgap.gap.gap import Gap, aggregate_relative_gap, gap, relative_gap
from sivgap.gap.rival import Rival, rival
from sivgap.gap.selection import Selection
from sivgap.gap.weights import Exponential, Quantile, Threshold, Weight, weigh
from sivgap.runtime.checksums import Damaged
from sivgap.runtime.read import read_parquet, read_yaml

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """P problems x N responses; arrays (P, N) but for the problems' ids, (P,), and `verdicts`, (P, N, M) or None."""

    name: str
    config: dict[str, Any]
    status: dict[str, Any]
    problems: NDArray[np.object_]
    answers: NDArray[np.object_]
    correct: Array
    correct_strict: Array
    nll: Array
    length: Array
    finished: Array
    scores: Array
    unparsed: Array
    verdicts: Array | None

    @property
    def weight(self) -> Weight:
        """What responses count by their scores, as configured."""
        asked = self.config["weight"]
        if asked["kind"] == "threshold":
            return Threshold(asked["tau"])
        return Quantile(asked["quantile"]) if asked["kind"] == "quantile" else Exponential(asked["beta"])

    @property
    def weights(self) -> Array:
        """How much each response counts, (P, N)."""
        return weigh(self.scores, self.weight, self.unparsed)

    @property
    def selection(self) -> Selection:
        """Which responses best of N chooses among: those that the weight keeps, by `weight.tau` if it is exponential
        and keeps all."""
        asked = self.config["weight"]
        quantile = float(asked["quantile"]) if asked["kind"] == "quantile" else None
        return Selection(float(asked["tau"]), quantile, asked.get("finished", "any"))

    @property
    def gap(self) -> Gap:
        """MG Def. 2.1, by the weight and the conventions of the configuration."""
        return gap(self.correct, self.weights, self.config["weight"]["empty"])

    @property
    def relative_gap(self) -> Gap:
        """MG Def. 2.2, likewise."""
        asked = self.config["weight"]
        return relative_gap(self.correct, self.weights, asked["empty"], asked["saturated"])

    @property
    def aggregate_relative_gap(self) -> Estimate:
        """gap / (U_max - J), likewise."""
        return aggregate_relative_gap(self.correct, self.weights, self.config["weight"]["empty"])

    @cached_property
    def rival(self) -> Rival:
        """The score beside the likelihood."""
        by = self.scores, self.nll, self.length, self.finished
        return rival(*by, self.correct, self.selection, self.unparsed)

    @cached_property
    def measured(self) -> Measured:
        """What its reader is warned by."""
        by = self.scores, self.unparsed, self.nll, self.length, self.finished, self.selection
        second = self.status.get("notes", {}).get("second_preferred")
        return measured(self.correct, self.correct_strict, *by, second)

    @property
    def generator(self) -> str:
        model = self.config["model"]
        return shown_name(str(model["name"]), model.get("path"))

    @property
    def judge(self) -> str:
        """The model that verified."""
        path = self.config["verifier"]["model"]["path"]
        return self.generator if path is None else name_of(path)

    @property
    def verifier(self) -> str:
        """The method, with what sets it apart."""
        asked = self.config["verifier"]
        usual = {"mc": "expected", "gold": asked["readout"], "ensemble": asked["readout"]}.get(asked["name"], "sampled")
        readout = "" if asked["readout"] == usual else f" ({asked['readout']})"
        swiss = " (swiss)" if asked["pairing"] == "swiss" else ""
        members = " & ".join(asked["members"]) if asked["name"] == "ensemble" else asked["name"]
        return f"{members}{readout}{swiss}"


def read_evaluation(folder: Path) -> Evaluation:
    """Read the evaluation in `folder`.

    Raises:
        RunError: If it is none, or damaged.
    """
    try:
        table = read_parquet(folder / "scores.parquet", folder)
        config = read_yaml(folder / "config.yaml", folder)
        status = read_yaml(folder / "status.json", folder)
    except Damaged:
        raise
    except (OSError, ValueError, RunError) as error:
        reason = " ".join(str(error).split())[:160]
        raise RunError(f"{folder}: no readable evaluation ({reason}); make it with sivgap.evaluate") from error
    prompts = table["problem_id"].nunique()

    def shaped(name: str) -> Array:
        values: Array = table[name].to_numpy(np.float64)
        return values.reshape(prompts, -1)

    said = table["answer_key" if "answer_key" in table else "answer"]  # evaluations of older versions have no keys
    answers = np.array([a if isinstance(a, str) else None for a in said], dtype=object)
    return Evaluation(
        name=folder.name,
        config=config,
        status=status,
        problems=table["problem_id"].to_numpy(object).reshape(prompts, -1)[:, 0],
        answers=answers.reshape(prompts, -1),
        correct=shaped("correct"),
        correct_strict=shaped("correct_strict"),
        nll=shaped("nll"),
        length=shaped("length"),
        finished=shaped("finished"),
        scores=shaped("score"),
        unparsed=shaped("unparsed"),
        verdicts=_verdicts(table, prompts) if "verdicts" in table else None,
    )


def _verdicts(table: Any, prompts: int) -> Array:
    flat: Array = np.stack(list(table["verdicts"]))
    return flat.reshape(prompts, len(table) // prompts, -1)
