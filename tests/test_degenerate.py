"""Measurements of models that have gone wrong: defined, visible in the trajectory, and never a NaN in it."""

import json

import numpy as np
import pytest
from test_resume import attempt, config

from sivgap.core.rollout import Rollouts
from sivgap.core.verification import Scores
from sivgap.gap.selection import Selection
from sivgap.grading.grade import Grade
from sivgap.loop.measurement import Panel, summarise
from sivgap.runtime.signals import StopRequest


def panel(nll, scores, correct, unparsed=0.0) -> Panel:
    """A panel of 4 prompts x 3 responses with the same number everywhere, where one is given."""
    shape = (4, 3)
    nll, scores = np.full(shape, nll, dtype=float), np.full(shape, scores, dtype=float)
    length = np.full(shape, 2)
    tokens = [np.array([1, 2])] * 12
    rollouts = Rollouts(tokens, nll, length, np.zeros(shape, dtype=np.int64))
    grades = [Grade(None, correct, correct)] * 12
    choice = Selection().choose(scores, nll, length, rollouts.finished)
    return Panel(rollouts, [""] * 12, Scores(scores, np.full(shape, unparsed)), grades, choice)


@pytest.mark.parametrize("correct", [False, True])
def test_a_panel_without_any_variance_has_null_or_zero_for_everything_that_needs_some(correct):
    columns = summarise(panel(1.5, 0.5, correct, unparsed=1.0), Selection(), [1, 2, 4])
    json.dumps(columns, allow_nan=False)
    assert columns["gap"] == 0
    assert columns["solver_uncertainty_se"] == 0
    assert columns["unparsed_fraction"] == 1  # every verdict was neutral, and that is to be seen
    assert columns["finished_fraction"] == 0  # no response ended by itself
    assert columns["chosen_cut_fraction"] == 1
    assert columns["gap_finished"] is columns["gap_finished_se"] is columns["verifier_uncertainty_finished"] is None
    assert columns["score_auroc"] is None
    assert columns["pass_at_k"]["4"] is None
    assert columns["gv_gap"] == 0


def test_uncertainty_without_cut_responses_is_of_prompts_whose_choice_ended():
    nll, length = np.array([[4.0, 2, 6], [1, 8, 9], [5, 5, 5]]), np.array([[2, 2, 2], [4, 2, 2], [1, 1, 1]])
    ending = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0]])  # none of the third prompt's ended
    rollouts = Rollouts([np.array([1])] * 9, nll, length, ending)
    scores, grades = Scores(np.ones((3, 3)), np.zeros((3, 3))), [Grade(None, True, True)] * 9

    def columns(rule):
        choice = rule.choose(scores.values, nll, length, rollouts.finished)
        return summarise(Panel(rollouts, [""] * 9, scores, grades, choice), rule, [1])

    first = columns(Selection())
    assert first["verifier_uncertainty"] == pytest.approx((2 + 8 + 5) / 3)
    assert first["chosen_cut_fraction"] == pytest.approx(1 / 3)
    assert first["solver_uncertainty_finished"] == pytest.approx((3 + 8.5) / 2)
    assert first["verifier_uncertainty_finished"] == pytest.approx((2 + 8) / 2)
    assert first["gap_finished"] == pytest.approx((1 + 0.5) / 2)
    paper = columns(Selection(finished="any"))
    assert paper["verifier_uncertainty"] == pytest.approx((2 + 1 + 5) / 3)
    assert (paper["chosen_cut_fraction"], paper["gap_finished"]) == pytest.approx((2 / 3, 1))


def test_responses_that_never_end_and_verdicts_that_say_nothing_make_a_run_that_says_so(tmp_path):
    cut = ("sampling.max_new_tokens=1", "verifier.max_new_tokens=1", "epochs=0.5", "update.replay=0")
    done, lines = attempt(config(tmp_path, *cut), StopRequest())
    assert done
    json.dumps(lines, allow_nan=False)
    assert all(line["finished_fraction"] < 0.5 for line in lines)
    assert all(line["solver_length"] == 1 for line in lines)
    (run,) = tmp_path.iterdir()
    assert "NaN" not in (run / "trajectory.jsonl").read_text()
    assert "NaN" not in (run / "status.json").read_text()
