"""``samples/epoch=....parquet``: every response of a measurement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sivgap.core.problem import Problem
from sivgap.loop.measurement import External, Panel
from sivgap.runtime.files import write_atomically

Row = dict[str, Any]


def sample_rows(epoch: float, split: str, problems: Sequence[Problem], panel: Panel) -> list[Row]:
    """One row a response, in the order of prompts and samples; external ones follow, with -1 for a sample's number.

    An external response that has been given is the selected one of its prompt; one that arrives is not yet.
    """
    rollouts, samples, external = panel.rollouts, panel.rollouts.nll.shape[1], panel.external
    given = set() if external is None else {int(p) for p in external.prompt[~external.arriving]}
    rows = []
    for i, grade in enumerate(panel.grades):
        p, n = divmod(i, samples)
        rows.append(
            {
                **_asked(epoch, split, problems[p]),
                "sample": n,
                "text": panel.texts[i],
                "tokens": rollouts.tokens[i],
                "nll": float(rollouts.nll[p, n]),
                "length": int(rollouts.length[p, n]),
                "finished": bool(rollouts.finished[p, n]),
                "score": float(panel.scores.values[p, n]),
                "unparsed": bool(panel.scores.unparsed[p, n] > 0),
                "unparsed_share": float(panel.scores.unparsed[p, n]),
                **vars(grade),
                "selected": bool(panel.choice.chosen[p] == n) and p not in given,
            }
        )
    return rows if external is None else rows + _external_rows(epoch, split, problems, external)


def _external_rows(epoch: float, split: str, problems: Sequence[Problem], external: External) -> list[Row]:
    return [
        {
            **_asked(epoch, split, problems[external.prompt[i]]),
            "sample": -1,
            "text": external.texts[i],
            "tokens": np.array(external.tokens[i]),
            "nll": float(external.nll[i]),
            "length": len(external.tokens[i]),
            "finished": True,
            "score": None,
            "unparsed": False,
            "unparsed_share": 0.0,
            **vars(grade),
            "selected": not external.arriving[i],
        }
        for i, grade in enumerate(external.grades)
    ]


def _asked(epoch: float, split: str, problem: Problem) -> Row:
    """What a row says of its prompt."""
    return {
        "epoch": epoch,
        "split": split,
        "problem_id": problem.id,
        "question": problem.question,
        "reference": problem.reference,
    }


def write_samples(path: Path, rows: Sequence[Row], root: Path) -> None:
    """Write `rows` to `path`, in the run directory `root`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(list(rows))
    write_atomically(path, lambda aside: frame.to_parquet(aside, index=False), root)
