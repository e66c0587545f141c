"""``samples/epoch=....parquet``: every response of a measurement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sivgap.measure import External, Panel
from sivgap.runs.files import write_atomically
from sivgap.tasks.problem import Problem

Row = dict[str, Any]


def sample_rows(epoch: float, split: str, problems: Sequence[Problem], panel: Panel) -> list[Row]:
    """One row a response, in the order of prompts and samples; external ones follow, with -1 for a sample's number."""
    rollouts, samples = panel.rollouts, panel.rollouts.nll.shape[1]
    rows = []
    for i, grade in enumerate(panel.grades):
        p, n = divmod(i, samples)
        rows.append(
            {
                "epoch": epoch,
                "split": split,
                "problem_id": problems[p].id,
                "question": problems[p].question,
                "reference": problems[p].reference,
                "sample": n,
                "text": panel.texts[i],
                "tokens": rollouts.tokens[i],
                "nll": float(rollouts.nll[p, n]),
                "length": int(rollouts.length[p, n]),
                "finished": bool(rollouts.finished[p, n]),
                "score": float(panel.scores.values[p, n]),
                "unparsed": bool(panel.scores.unparsed[p, n]),
                "answer": grade.answer,
                "correct": grade.correct,
                "correct_strict": grade.correct_strict,
                "selected": bool(panel.choice.chosen[p] == n),
            }
        )
    return rows if panel.external is None else _with_external(rows, epoch, split, problems, panel.external, samples)


def _with_external(
    rows: list[Row], epoch: float, split: str, problems: Sequence[Problem], external: External, samples: int
) -> list[Row]:
    """External responses that have been given are the selected ones of their prompts; those arriving are not yet."""
    for i, grade in enumerate(external.grades):
        p, given = int(external.prompt[i]), not external.arriving[i]
        for row in rows[p * samples : (p + 1) * samples]:
            row["selected"] = row["selected"] and not given
        rows.append(
            {
                "epoch": epoch,
                "split": split,
                "problem_id": problems[p].id,
                "question": problems[p].question,
                "reference": problems[p].reference,
                "sample": -1,
                "text": external.texts[i],
                "tokens": np.array(external.tokens[i]),
                "nll": float(external.nll[i]),
                "length": len(external.tokens[i]),
                "finished": True,
                "score": None,
                "unparsed": False,
                "answer": grade.answer,
                "correct": grade.correct,
                "correct_strict": grade.correct_strict,
                "selected": given,
            }
        )
    return rows


def write_samples(path: Path, rows: Sequence[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(list(rows))
    write_atomically(path, lambda aside: frame.to_parquet(aside, index=False))
