"""Verifiers as logic over a judge: a judge that knows the truth, one that guesses, one that likes a place."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import spearmanr

from sivgap.core.problem import Problem
from sivgap.core.verification import Answers, Responses, Scores
from sivgap.runtime.rng import derive_key, row_keys, uniforms
from sivgap.verifiers.ensemble import Ensemble
from sivgap.verifiers.gold import Gold
from sivgap.verifiers.one_by_one import OneByOne
from sivgap.verifiers.tournament import Tournament, bradley_terry


def responses(problems: int, samples: int) -> Responses:
    asked = [Problem(f"p{i}", f"{i}+0", str(i)) for i in range(problems)]
    return Responses(asked, [f"{p} {n}" for p in range(problems) for n in range(samples)])


@dataclass
class Knowing:
    """Answers by true qualities (P, N): of one response its quality, of two how surely the first is better."""

    quality: np.ndarray
    sharpness: float = np.inf
    place: float = 0.0
    asked: int = 0

    def ask(self, responses, questions, stream, repetitions=1, on_batch=None, first_repetition=0):
        self.asked += len(questions) * repetitions
        first = self.quality[questions.problem, questions.first]
        value = first
        if (questions.second >= 0).all():
            other = self.quality[questions.problem, questions.second]
            difference = first - other - self.place
            value = np.sign(difference) / 2 + 0.5 if np.isinf(self.sharpness) else expit(self.sharpness * difference)
        value = np.repeat(value[:, None], repetitions, axis=1)
        return Answers(value, np.zeros(value.shape, bool), [""] * value.size)


@pytest.fixture
def quality():
    return np.random.default_rng(0).permuted(np.tile(np.linspace(0, 1, 16), (5, 1)), axis=1)


def test_the_score_of_one_response_is_the_mean_of_its_verdicts():
    class Alternating:
        def ask(self, responses, questions, stream, repetitions=1, on_batch=None, first_repetition=0):
            value = np.tile(np.arange(repetitions) % 2, (len(questions), 1)).astype(float)
            return Answers(value, value == 1, [""] * value.size)

    scores = OneByOne(Alternating(), 4).score(responses(3, 2), 0)
    assert scores.values.tolist() == [[0.5, 0.5]] * 3
    assert scores.unparsed.tolist() == [[0.5, 0.5]] * 3
    assert scores.each.shape == (3, 2, 4)


def test_the_best_response_wins_an_honest_tournament_and_asks_for_n_minus_1_comparisons(quality):
    judge = Knowing(quality)
    scores = Tournament(judge, both_orders=False).score(responses(5, 16), 0)
    assert (scores.values.argmax(axis=1) == quality.argmax(axis=1)).all()
    assert judge.asked == 5 * 15
    # k of 4 rounds are won by 16 / 2^k - 16 / 2^(k+1) responses, the last one by one
    assert np.unique(scores.values, return_counts=True)[1].tolist() == [40, 20, 10, 5, 5]


def test_a_threshold_of_k_rounds_keeps_what_survives_them(quality):
    full = Tournament(Knowing(quality), both_orders=False).score(responses(5, 16), 0)
    two = Tournament(Knowing(quality), rounds=2, both_orders=False).score(responses(5, 16), 0)
    assert ((full.values >= 0.5) == (two.values == 1)).all()


def test_rounds_end_when_one_response_is_left(quality):
    asked_for_more = Tournament(Knowing(quality), rounds=9, both_orders=False).score(responses(5, 16), 0)
    assert (
        asked_for_more.values == Tournament(Knowing(quality), both_orders=False).score(responses(5, 16), 0).values
    ).all()


def test_both_orders_undo_a_preference_for_a_place_and_note_it(quality):
    partial = Knowing(quality, place=2.0)  # the second one always wins
    blind = Tournament(partial, both_orders=False).score(responses(5, 16), 0)
    assert blind.notes["second_preferred"] == 1
    assert (blind.values[:, 15] == 1).all()
    slightly = Knowing(quality, sharpness=20, place=0.1)
    fair = Tournament(slightly, both_orders=True).score(responses(5, 16), 0)
    assert (fair.values.argmax(axis=1) == quality.argmax(axis=1)).all()
    assert fair.notes["second_preferred"] > 0.5


def test_draws_are_decided_by_a_fair_coin_of_each_pair():
    same = Knowing(np.full((400, 4), 0.5))
    one = Tournament(same).score(responses(400, 4), 7).values
    assert (one == Tournament(same).score(responses(400, 4), 7).values).all()
    winners = np.bincount(one.argmax(axis=1), minlength=4)
    assert winners.min() > 70  # of 100 expected, standard deviation 8.7


def test_a_swiss_tournament_orders_responses_and_uses_a_weak_judge_better_than_elimination():
    rng = np.random.default_rng(1)
    quality = rng.permuted(np.tile(np.linspace(0, 1, 8), (600, 1)), axis=1)

    class Noisy(Knowing):
        def ask(self, responses, questions, stream, repetitions=1, on_batch=None, first_repetition=0):
            said = super().ask(responses, questions, stream, repetitions, None, first_repetition)
            keys = [
                derive_key(*map(int, q)) for q in zip(questions.problem, questions.first, questions.second, strict=True)
            ]
            drawn = uniforms(row_keys(0, np.array(keys, dtype=np.uint64), 1), 1)[:, 0]
            return Answers((drawn < said.value).astype(float), said.unparsed, said.said)

    knockout, swiss = Noisy(quality, sharpness=3), Noisy(quality, sharpness=3)
    once = Tournament(knockout).score(responses(600, 8), 0).values
    often = Tournament(swiss, rounds=7, swiss=True).score(responses(600, 8), 0).values
    at = np.arange(600)
    assert quality[at, often.argmax(axis=1)].mean() > quality[at, once.argmax(axis=1)].mean() + 0.03
    sure = Tournament(Knowing(quality[:20]), rounds=7, swiss=True).score(responses(20, 8), 0).values
    order = [spearmanr(a, b).statistic for a, b in zip(sure, quality, strict=False)]
    assert min(order) > 0.9  # a few of the 28 pairs may not have met
    assert ((sure >= 0) & (sure <= 1)).all()


def test_bradley_terry_finds_the_mode():
    rng = np.random.default_rng(2)
    wins = rng.random((3, 5, 5)) * (1 - np.eye(5))
    strength = bradley_terry(wins)

    def log_posterior(theta, w):
        beats = np.log(expit(theta[:, None] - theta[None, :]))
        return (w * beats).sum() - 0.5 * (theta**2).sum()

    for theta, w in zip(strength, wins, strict=True):
        for i, step in itertools.product(range(5), (-1e-3, 1e-3)):
            moved = theta.copy()
            moved[i] += step
            assert log_posterior(moved, w) < log_posterior(theta, w)


def test_an_ensemble_accepts_what_all_its_members_accept():
    @dataclass
    class Fixed:
        values: np.ndarray

        def score(self, responses, stream, on_batch=None):
            return Scores(self.values, np.zeros(self.values.shape))

    one, other = np.array([[0.9, 0.4, 0.6]]), np.array([[0.2, 0.8, 0.7]])
    members = {"mc": (Fixed(one), 0.5), "qe": (Fixed(other), 0.7)}
    asked = responses(1, 3)
    assert Ensemble(members).score(asked, 0).values.tolist() == [[0, 0, 1]]
    assert Ensemble(members, average=True).score(asked, 0).values[0] == pytest.approx([0.55, 0.6, 0.65])
    assert Ensemble({"mc": members["mc"]}).score(asked, 0).values.tolist() == [[1, 0, 1]]


def test_gold_is_ground_truth():
    problem = Problem("p", "1+1", "2")
    scores = Gold("arithmetic", None).score(Responses([problem], ["1+1=2, Answer: 2", "Answer: 3", ""]), 0)
    assert scores.values.tolist() == [[1, 0, 0]]
