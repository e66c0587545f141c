"""``samples/epoch=....parquet``: every response of a measurement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sivgap.measure import Panel
from sivgap.runs.files import write_atomically
from sivgap.tasks.problem import Problem

Row = dict[str, Any]


def sample_rows(epoch: float, split: str, problems: Sequence[Problem], panel: Panel) -> list[Row]:
    """One row a response, in the order of prompts and samples."""
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
    return rows


def write_samples(path: Path, rows: Sequence[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(list(rows))
    write_atomically(path, lambda aside: frame.to_parquet(aside, index=False))
