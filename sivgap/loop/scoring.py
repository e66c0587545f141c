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

from sivgap.config.evaluation import EvaluateConfig
from sivgap.config.members import asking
from sivgap.core.problem import Problem
from sivgap.core.rollout import OnBatch
from sivgap.core.verification import Scores, Verifier
from sivgap.grading.equal import AnswerComparer
from sivgap.grading.grade import Grade
from sivgap.loop.workload import RESPONSES, VERDICTS, verdict_cost
from sivgap.runtime.background import Background
from sivgap.runtime.display import Display
from sivgap.runtime.files import write_atomically
from sivgap.runtime.rng import derive_key
from sivgap.runtime.signals import StopRequest
from sivgap.store.responses import ResponseStore, Stored
from sivgap.tasks.grade import forms_of, grade_samples

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
    examples: Sequence[Problem] = (),
) -> dict[str, Any]:
    """Write the rows of all problems to `path`; what it took, and the mean of what the verifier noted. `examples` are
    the few-shot examples that the solver was shown.

    Raises:
        Stopped: If a signal asked for it; what was generated is in `store`.
    """
    forms = forms_of(config.dataset, examples)
    size = max(1, RESPONSES_AT_ONCE // config.n)
    apart = store.verdicts is None and bool(asking(config.verifier, config.dataset.name))
    watched = _Watched(display, stop, len(problems), config.n)
    responses = len(problems) * config.n
    display.left.plan({RESPONSES: responses, VERDICTS: apart * responses}, {VERDICTS: verdict_cost(config)})
    noted: list[tuple[int, dict[str, float]]] = []
    generated = 0

    def fill(aside: Path) -> None:
        nonlocal generated
        with _table(aside) as write, Background(comparer.cancel) as background:

            def finish(portion: Sequence[Problem], found: Stored, scores: Scores) -> None:
                grades = grade_samples(config.dataset.name, portion, found.responses.texts, comparer, forms)
                write(_rows(portion, found, scores, grades))

            for start in range(0, len(problems), size):
                portion = problems[start : start + size]
                with watched.phase("sampling", RESPONSES, start, portion) as heard:
                    found = store.get(portion, heard)
                generated += found.generated
                with watched.phase("verifying", VERDICTS, start, portion) as heard:
                    scores = verifier.score(found.responses, derive_key(config.seed, "evaluate"), heard)
                noted.append((len(portion), scores.notes))
                background.settle()
                background.later(finish, portion, found, scores)
            with display.phase("grading", None):
                background.settle()

    write_atomically(path, fill, path.parent)
    names = dict.fromkeys(name for _, notes in noted for name in notes)
    weights = [count for count, _ in noted]
    means = {name: float(np.average([notes[name] for _, notes in noted], weights=weights)) for name in names}
    return {"tokens_generated": generated, "notes": means}


class _Watched:
    """Shows progress through the portions of `total` problems, and hears signals."""

    def __init__(self, display: Display, stop: StopRequest, total: int, samples: int) -> None:
        self._display, self._stop, self._total, self._samples = display, stop, total, samples

    @contextmanager
    def phase(self, what: str, kind: str, start: int, portion: Sequence[Problem]) -> Iterator[OnBatch]:
        """`what` is done to a portion that begins with problem number `start`; gives what hears of each step."""
        which = f" (problems {start + 1:,} to {start + len(portion):,} of {self._total:,})"
        named = what + which if len(portion) < self._total else what
        done = float(start)
        with self._display.phase(named, len(portion), kind=kind, each=self._samples) as advance:

            def heard(more: float, tokens: int) -> None:
                nonlocal done
                done += more
                advance(more, tokens)
                if self._stop:
                    raise self._stop.stopped(f"while {what}, after {int(done)} of {self._total} problems")

            yield heard
            heard(0.0, 0)


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
            "answer_key": pd.Series([grade.key for grade in grades], dtype="str"),
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
