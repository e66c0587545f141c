"""Rollouts of a measurement that training learns from, too (``measure.reuse``).

Half epoch by half epoch, Algorithm 1 samples training prompts twice with the same weights: for the curve, and for the
labels. Here the curve is read off the labels' own rollouts. They are drawn before anything is learnt from them, so the
measurement is of the same distribution; but its noise is a new one each time, where the fixed panel's stays, and
differences between measurements are noisier for it. Noise belongs to a prompt and a stream, so a response that was not
kept (the run was killed) is drawn again as it was: labels never depend on what is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sivgap.core.problem import Problem
from sivgap.core.rollout import Rollouts
from sivgap.core.verification import Scores


@dataclass(frozen=True)
class Reused:
    """Responses with their scores, and the place of each problem among them; at first none."""

    places: Mapping[str, int] = field(default_factory=dict)
    rollouts: Rollouts | None = None
    scores: Scores | None = None

    def split(self, problems: Sequence[Problem]) -> tuple[list[Problem], list[Problem]]:
        """Those that have been sampled, and the others."""
        here = [problem for problem in problems if problem.id in self.places]
        return here, [problem for problem in problems if problem.id not in self.places]

    def rollouts_of(self, problems: Sequence[Problem]) -> Rollouts:
        """The responses to `problems`, all of which have been sampled."""
        assert self.rollouts is not None
        return self.rollouts.of([self.places[problem.id] for problem in problems])

    def scores_of(self, problems: Sequence[Problem]) -> Scores:
        """Their scores."""
        assert self.scores is not None
        return self.scores.of([self.places[problem.id] for problem in problems])


def keep(measured: Sequence[Problem], wanted: set[str], rollouts: Rollouts, scores: Scores) -> Reused:
    """Of what was `measured` the responses to the problems that are `wanted`."""
    places = [i for i, problem in enumerate(measured) if problem.id in wanted]
    return Reused({measured[i].id: k for k, i in enumerate(places)}, rollouts.of(places), scores.of(places))
