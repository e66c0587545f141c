"""Rounds of a run: which problems are labelled together (``refresh``), by whom, and in what order they are learnt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sivgap.config.schema import TrainConfig
from sivgap.core.example import Example
from sivgap.core.problem import Problem
from sivgap.cross.external import Response, Timetable
from sivgap.loop.schedule import Schedule


@dataclass(frozen=True)
class Rounds:
    """The rounds of a run on the `training` problems.

    Attributes:
        timetable, responses: When a problem is given an external response, and that response by the problem's id.
    """

    config: TrainConfig
    training: Sequence[Problem]
    schedule: Schedule
    timetable: Timetable
    responses: Mapping[str, Response]

    def problems(self, half: int) -> list[Problem]:
        """Those of one half epoch, in the order of training."""
        return [self.training[i] for i in self.schedule.prompts(half)]

    def batches(self, half: int, done: int) -> Iterator[list[Problem]]:
        """The problems of a half epoch in portions that share one labelling, without the first `done` of these."""
        problems = self.problems(half)
        size = self.config.update.batch_size if self.config.refresh == "step" else len(problems)
        for start in range(done * size, len(problems), size):
            yield problems[start : start + size]

    def labelled_with(self, problems: Sequence[Problem], half: int) -> list[Problem]:
        """All problems whose labels are drawn in the round of `problems`: with ``refresh=epoch`` those of the whole
        epoch at its beginning, and none in its second half."""
        if self.config.refresh != "epoch":
            return list(problems)
        return [] if half % 2 else [*problems, *self.problems(half + 1)]

    def labelled_after(self, half: int) -> set[str]:
        """Ids of the problems whose labels are drawn in the first round of `half`, with the weights it begins with."""
        if self.config.refresh == "half_epoch":
            return {problem.id for problem in self.problems(half)}
        return {problem.id for problem in self.labelled_with(self.problems(half), half)}

    def given(self, half: int) -> set[str]:
        """Ids of the problems that learn from an external response in a half epoch (SV Eq. 14)."""
        return self.timetable.given(half // 2 + 1)

    def in_order(
        self, problems: Sequence[Problem], own: Sequence[Example], external: Mapping[str, Example]
    ) -> list[Example]:
        """Examples in the order of their problems: the model's `own`, and `external` ones by their problem's id."""
        labels: dict[str, list[Example]] = {problem.id: [] for problem in problems}
        for example in own:
            labels[example.problem_id].append(example)
        for problem in problems:
            if problem.id in external:
                labels[problem.id] = [external[problem.id]]
        return [example for problem in problems for example in labels[problem.id]]

    def external_at(self, half: int) -> tuple[dict[str, Response], dict[str, Response]]:
        """External responses given before `half`, and those that arrive in it; none arrive once the run is over."""
        given = self.timetable.given(half / 2)
        over = half == self.schedule.halves or half % 2
        arriving = set() if over else self.timetable.given(half / 2 + 1) - given
        return {name: self.responses[name] for name in given}, {name: self.responses[name] for name in arriving}
