"""Source ``reference``: the dataset's own worked solutions."""

from __future__ import annotations

from collections.abc import Sequence

from sivgap.config.schema import TrainConfig
from sivgap.core.problem import Problem
from sivgap.cross.external import Response
from sivgap.errors import RunError
from sivgap.runtime.display import Display
from sivgap.tasks.load import Dataset


def responses(
    config: TrainConfig, dataset: Dataset, problems: Sequence[Problem], display: Display
) -> dict[str, Response]:
    """The solution of each problem.

    Raises:
        RunError: If one has none.
    """
    without = [problem.id for problem in problems if not problem.solution]
    if without:
        raise RunError(
            f"cross.source=reference: {len(without)} of the {len(problems)} chosen problems have no worked solution "
            f"({without[0]!r} for one); use another dataset, or cross.source=file, model or api"
        )
    return {problem.id: Response(problem.solution or "") for problem in problems}
