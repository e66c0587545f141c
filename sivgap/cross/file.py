"""Source ``file``: responses from a ``.jsonl`` or ``.parquet`` file, found by a problem's id or its question."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sivgap.config.schema import TrainConfig
from sivgap.core.problem import Problem
from sivgap.cross.external import Response
from sivgap.errors import RunError
from sivgap.runtime.display import Display
from sivgap.tasks.load import Dataset
from sivgap.tasks.source import read_records, text_field


def responses(
    config: TrainConfig, dataset: Dataset, problems: Sequence[Problem], display: Display
) -> dict[str, Response]:
    """Records hold ``response`` and ``id`` or ``question``; the first that fits a problem counts.

    Raises:
        RunError: On a broken record, or if a chosen problem has none.
    """
    path = Path(config.cross.file or "")
    by_id: dict[str, str] = {}
    by_question: dict[str, str] = {}
    for where, record in read_records(path):
        try:
            text = text_field(record, "response")
            if "id" in record:
                by_id.setdefault(text_field(record, "id"), text)
            else:
                by_question.setdefault(text_field(record, "question").strip(), text)
        except ValueError as error:
            raise RunError(f"{where}: {error}; expected response, and id or question") from error
    found = {p.id: by_id.get(p.id) or by_question.get(p.question) for p in problems}
    without = [name for name, text in found.items() if text is None]
    if without:
        raise RunError(
            f"cross.file={path}: no response for {len(without)} of the {len(problems)} chosen problems, "
            f"{without[0]!r} for one; lower cross.budget, or add them"
        )
    return {name: Response(text or "") for name, text in found.items()}
