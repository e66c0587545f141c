"""Measurements of models that have gone wrong: defined, visible in the trajectory, and never a NaN in it."""

import json

import numpy as np
import pytest
from test_resume import attempt, config

from sivgap.engines.rollout import Rollouts
from sivgap.grading.grade import Grade
from sivgap.measure import Panel, summarise
from sivgap.selection import Selection, best_of_n
from sivgap.signals import StopRequest
from sivgap.verifiers.question import Scores


def panel(nll, scores, correct, unparsed=0.0) -> Panel:
    """A panel of 4 prompts x 3 responses with the same number everywhere, where one is given."""
    shape = (4, 3)
    nll, scores = np.full(shape, nll, dtype=float), np.full(shape, scores, dtype=float)
    length = np.full(shape, 2)
    tokens = [np.array([1, 2])] * 12
    rollouts = Rollouts(tokens, nll, length, np.zeros(shape, dtype=np.int64))
    grades = [Grade(None, correct, correct)] * 12
    choice = best_of_n(Selection().passes(scores), nll, length)
    return Panel(rollouts, [""] * 12, Scores(scores, np.full(shape, unparsed)), grades, choice)


@pytest.mark.parametrize("correct", [False, True])
def test_a_panel_without_any_variance_has_null_or_zero_for_everything_that_needs_some(correct):
    columns = summarise(panel(1.5, 0.5, correct, unparsed=1.0), Selection(), [1, 2, 4])
    json.dumps(columns, allow_nan=False)
    assert columns["gap"] == 0
    assert columns["solver_uncertainty_se"] == 0
    assert columns["unparsed_fraction"] == 1  # every verdict was neutral, and that is to be seen
    assert columns["finished_fraction"] == 0  # no response ended by itself
    assert columns["score_auroc"] is None
    assert columns["pass_at_k"]["4"] is None
    assert columns["gv_gap"] == 0


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
