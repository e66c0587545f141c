"""Tournaments: responses are compared in pairs, and a response's score is how far it came (MG Appendix C).

*Single elimination* is the paper's: 2^r responses, the winners of a round meet in the next. The score is the share of
the r rounds that were won, so a threshold of k / r keeps what survives k rounds, and 1 the winner alone.

*Swiss* is ours: in every round responses of like strength meet, for as many rounds as asked, and nobody leaves. The
score is a response's expected share of wins against all others, under a Bradley-Terry model of what was seen.

A judge prefers the first or the second of two for their place alone. With `both_orders` each pair is asked about both
ways and the mean decides; how often the second one was preferred is noted either way (`second_preferred`, .5 is fair).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from sivgap.core.rollout import OnBatch
from sivgap.core.verification import Judge, Questions, Responses, Scores, scaled_progress
from sivgap.runtime.rng import derive_key, row_keys, uniforms

Array = NDArray[np.float64]
Pairs = NDArray[np.int64]
"""Pairs of responses: (K, 3) with a problem and two of its responses."""

_PRIOR = 1.0
"""Precision of the normal prior on Bradley-Terry strengths: no response is infinitely stronger for winning all."""

_NEWTON_STEPS = 50


@dataclass(frozen=True)
class Tournament:
    """`rounds` of them; None plays until one response is left, or as many in a Swiss one."""

    judge: Judge
    rounds: int | None = None
    both_orders: bool = True
    swiss: bool = False
    repetitions: int = 1

    def score(self, responses: Responses, stream: int, on_batch: OnBatch | None = None) -> Scores:
        play = _Play(self, responses, stream, on_batch)
        values = play.swiss() if self.swiss else play.elimination()
        unparsed = np.divide(play.unparsed, play.asked, out=np.zeros(values.shape), where=play.asked > 0)
        return Scores(values, unparsed, notes={"second_preferred": play.second / max(play.questions, 1)})


class _Play:
    """One tournament for each problem, all played at once."""

    def __init__(self, rules: Tournament, responses: Responses, stream: int, on_batch: OnBatch | None) -> None:
        self.rules, self.responses, self.stream = rules, responses, stream
        self.problems, self.samples = responses.shape
        self.unparsed, self.asked = np.zeros(responses.shape), np.zeros(responses.shape)
        self.second, self.questions = 0.0, 0
        pairs = self._rounds * self.samples / 2 if rules.swiss else self.samples * (1 - 0.5**self._rounds)
        self._told = scaled_progress(on_batch, 1 / max(pairs * (2 if rules.both_orders else 1), 1))

    @property
    def _rounds(self) -> int:
        return int(np.ceil(np.log2(self.samples))) if self.rules.rounds is None else self.rules.rounds

    def elimination(self) -> Array:
        """Share of the rounds that each response won, (P, N); of few responses one is left before all rounds asked."""
        rounds = min(self._rounds, int(np.log2(self.samples)))
        won = np.zeros((self.problems, self.samples))
        left = np.tile(np.arange(self.samples), (self.problems, 1))
        for _ in range(rounds):
            pairs = np.column_stack([np.repeat(np.arange(self.problems), left.shape[1] // 2), left.reshape(-1, 2)])
            first_better = self.first_better(pairs)
            winner = np.where(first_better > 0.5, pairs[:, 1], pairs[:, 2])
            drawn = first_better == 0.5
            winner[drawn] = np.where(self._coin(pairs[drawn]), pairs[drawn, 1], pairs[drawn, 2])
            won[pairs[:, 0], winner] += 1
            left = winner.reshape(self.problems, -1)
        return won / max(rounds, 1)

    def swiss(self) -> Array:
        """Expected share of wins against the other responses of the problem, (P, N)."""
        rounds = self._rounds
        wins = np.zeros((self.problems, self.samples, self.samples))
        strength = np.zeros((self.problems, self.samples))
        for _ in range(rounds):
            met = wins + wins.transpose(0, 2, 1) > 0
            pairs = np.array([(p, *pair) for p in range(self.problems) for pair in _matched(strength[p], met[p])])
            if not len(pairs):
                break
            problem, one, other = pairs.T
            first_better = self.first_better(pairs)
            wins[problem, one, other] += first_better
            wins[problem, other, one] += 1 - first_better
            strength = bradley_terry(wins)
        beats = expit(strength[:, :, None] - strength[:, None, :])
        return (beats.sum(-1) - 0.5) / max(self.samples - 1, 1)  # type: ignore[no-any-return]

    def first_better(self, pairs: Pairs) -> Array:
        """How surely the first of each pair is the better one, in [0, 1], (K,)."""
        forth = self._ask(pairs)
        return (forth + 1 - self._ask(pairs[:, [0, 2, 1]])) / 2 if self.rules.both_orders else forth

    def _ask(self, pairs: Pairs) -> Array:
        questions = Questions(*pairs.T.copy())
        answers = self.rules.judge.ask(self.responses, questions, self.stream, self.rules.repetitions, self._told)
        for side in (1, 2):
            np.add.at(self.asked, (pairs[:, 0], pairs[:, side]), 1)
            np.add.at(self.unparsed, (pairs[:, 0], pairs[:, side]), answers.unparsed.mean(-1))
        value = answers.value.mean(-1)
        self.second += float((1 - value).sum())
        self.questions += len(pairs)
        return value  # type: ignore[no-any-return]

    def _coin(self, pairs: Pairs) -> NDArray[np.bool_]:
        """A fair coin of each pair's own, heads for the first: the same for the same pair."""
        keys = np.array(
            [derive_key(self.responses.problems[p].id, int(a), int(b)) for p, a, b in pairs], dtype=np.uint64
        )
        return uniforms(row_keys(derive_key(self.stream, "coin"), keys, 1), 1)[:, 0, 0] < 0.5


def _matched(strength: Array, met: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Pairs of like strength that have not met; the outcome of such a pair is the least sure, and teaches most."""
    free = list(np.argsort(-strength, kind="stable"))
    pairs = []
    while free:
        one = free.pop(0)
        other = next((candidate for candidate in free if not met[one, candidate]), None)
        if other is not None:
            free.remove(other)
            pairs.append((int(one), int(other)))
    return pairs


def bradley_terry(wins: Array) -> Array:
    """Strengths theta (P, N) under P(i beats j) = 1 / (1 + exp(theta_j - theta_i)), the mode with a normal prior.

    Args:
        wins: How often i beat j, shares of a win allowed, (P, N, N).
    """
    games = wins + wins.transpose(0, 2, 1)
    strength = np.zeros(wins.shape[:2])
    for _ in range(_NEWTON_STEPS):
        beats = expit(strength[:, :, None] - strength[:, None, :])
        slope = (wins - games * beats).sum(-1) - _PRIOR * strength
        information = games * beats * (1 - beats)
        hessian = np.einsum("pi,ij->pij", information.sum(-1) + _PRIOR, np.eye(wins.shape[1])) - information
        step = np.linalg.solve(hessian, slope[..., None])[..., 0]
        strength += step
        if np.abs(step).max(initial=0) < 1e-10:
            break
    return strength
