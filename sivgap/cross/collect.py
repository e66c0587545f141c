"""Getting external responses, once a run: from ``cross.source`` into ``external.jsonl`` of its directory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from sivgap.config.schema import TrainConfig
from sivgap.core.problem import Problem
from sivgap.cross import api, file, model, reference
from sivgap.cross.external import Response
from sivgap.errors import RunError
from sivgap.runtime.checksums import Damaged, check
from sivgap.runtime.display import Display
from sivgap.runtime.files import write_text
from sivgap.tasks.load import Dataset

_SOURCES = {
    "reference": reference.responses,
    "file": file.responses,
    "model": model.responses,
    "api": api.responses,
}


def collect(
    config: TrainConfig, dataset: Dataset, problems: Sequence[Problem], path: Path, display: Display
) -> dict[str, Response]:
    """External responses to `problems` by their ids; read from `path` where an earlier attempt wrote them.

    Raises:
        RunError: If the source has none for one of them, or `path` is broken.
        ConfigError: If the source cannot be used at all.
    """
    if not problems:
        return {}
    if path.exists():
        return _read(path)
    found = _SOURCES[config.cross.source](config, dataset, problems, display)
    empty = [problem.id for problem in problems if not found[problem.id].text.strip()]
    if empty:
        raise RunError(f"cross.source={config.cross.source}: the response to problem {empty[0]!r} is empty")
    lines = [json.dumps({"problem_id": p.id, **asdict(found[p.id])}, ensure_ascii=False) for p in problems]
    write_text(path, "".join(line + "\n" for line in lines), path.parent)
    return found


def _read(path: Path) -> dict[str, Response]:
    try:
        check(path.parent, path)
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        return {r["problem_id"]: Response(str(r["text"]), bool(r["finished"])) for r in records}
    except (OSError, ValueError, KeyError, TypeError, RecursionError, Damaged) as error:
        raise RunError(f"{path}: cannot be read ({str(error)[:80]}); delete it, and it is collected again") from error
