"""Responses, verdicts and grades of all problems of an evaluation, a portion at a time, into ``scores.parquet``.

While one portion is graded and written the next one is generated and verified; no grade is needed for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet as parquet

from sivgap.background import Background
from sivgap.config.evaluation import EvaluateConfig
from sivgap.engines.noise import key_of
from sivgap.engines.rollout import OnBatch
from sivgap.grading.equal import AnswerComparer
from sivgap.grading.grade import Grade, grade_samples
from sivgap.progress import Advance, Display
from sivgap.runs.files import write_atomically
from sivgap.signals import StopRequest
from sivgap.store.responses import ResponseStore, Stored
from sivgap.tasks.problem import Problem
from sivgap.to_come import PROBLEMS
from sivgap.verifiers.question import Scores, Verifier

RESPONSES_AT_ONCE = 4096
"""Responses verified and graded together; two such portions are in memory. What is stored is stored after each."""


def score_all(
    config: EvaluateConfig,
    problems: Sequence[Problem],
    store: ResponseStore,
    verifier: Verifier,
    comparer: AnswerComparer,
    path: Path,
    display: Display,
    stop: StopRequest,
) -> dict[str, Any]:
    """Write the rows of all problems to `path`; what it took, and the mean of what the verifier noted.

    Raises:
        Stopped: If a signal asked for it; what was generated is in `store`.
    """
    size = max(1, RESPONSES_AT_ONCE // config.n)
    share = 0.5 if store.verdicts is None and config.verifier.name != "gold" else 1.0  # of a problem, once sampled
    noted: list[tuple[int, dict[str, float]]] = []
    generated = 0

    def fill(aside: Path) -> None:
        nonlocal generated
        with (
            display.phase("sampling, verifying, grading", len(problems), kind=PROBLEMS) as advance,
            _table(aside) as write,
            Background(comparer.cancel) as background,
        ):

            def finish(portion: Sequence[Problem], found: Stored, scores: Scores) -> None:
                grades = grade_samples(config.dataset.name, portion, found.responses.texts, comparer)
                write(_rows(portion, found, scores, grades))

            for start in range(0, len(problems), size):
                portion = problems[start : start + size]
                heard = _Heard(advance, stop, start, len(problems))
                found = store.get(portion, heard.by(share))
                generated += found.generated
                heard.until(start + share * len(portion))
                scores = verifier.score(found.responses, key_of(config.seed, "evaluate"), heard.by(1 - share))
                noted.append((len(portion), scores.notes))
                heard.until(start + len(portion))
                background.settle()
                background.later(finish, portion, found, scores)

    write_atomically(path, fill, path.parent)
    names = dict.fromkeys(name for _, notes in noted for name in notes)
    weights = [count for count, _ in noted]
    means = {name: float(np.average([notes[name] for _, notes in noted], weights=weights)) for name in names}
    return {"tokens_generated": generated, "notes": means}


class _Heard:
    """Shows progress through `total` problems, from number `done` on, and hears signals."""

    def __init__(self, advance: Advance, stop: StopRequest, done: float, total: int) -> None:
        self._advance, self._stop, self._done, self._total = advance, stop, done, total

    def by(self, each: float) -> OnBatch:
        """What hears of problems that count `each`."""
        return lambda done, tokens: self._on_batch(done * each, tokens)

    def until(self, done: float) -> None:
        """Problems up to there are done, however they came to be."""
        self._on_batch(done - self._done, 0)

    def _on_batch(self, done: float, tokens: int) -> None:
        self._done += done
        self._advance(done, tokens)
        if self._stop:
            raise self._stop.stopped(f"after {int(self._done)} of {self._total} problems")


@contextmanager
def _table(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """What appends rows to a Parquet file; the first ones decide its columns."""
    writer: parquet.ParquetWriter | None = None

    def write(rows: pd.DataFrame) -> None:
        nonlocal writer
        table = pyarrow.Table.from_pandas(rows, preserve_index=False)
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)

    yield write
    if writer is not None:
        writer.close()


def _rows(problems: Sequence[Problem], found: Stored, scores: Scores, grades: Sequence[Grade]) -> pd.DataFrame:
    """One row a response, in the order of problems and samples."""
    count, samples = found.nll.shape
    rows = pd.DataFrame(
        {
            "problem_id": np.repeat([problem.id for problem in problems], samples),
            "sample": np.tile(np.arange(samples), count),
            "answer": pd.Series([grade.answer for grade in grades], dtype="str"),
            "correct": [grade.correct for grade in grades],
            "correct_strict": [grade.correct_strict for grade in grades],
            "nll": found.nll.ravel(),
            "length": found.length.ravel(),
            "finished": found.finished.ravel(),
            "score": scores.values.ravel(),
            "unparsed": scores.unparsed.ravel(),
        }
    )
    if scores.each is not None and scores.each.shape[-1] > 1:
        return rows.assign(verdicts=pd.Series(list(scores.each.reshape(len(rows), -1))))
    return rows
