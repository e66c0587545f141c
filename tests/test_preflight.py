"""A preflight as a user starts it, on the embedded model: what it says, writes, and leaves alone."""

import json

import numpy as np
import pytest

from sivgap.core.rollout import Rollouts
from sivgap.core.verification import Scores
from sivgap.gap.selection import Choice
from sivgap.grading.grade import Grade
from sivgap.loop.measurement import Panel
from sivgap.preflight.conversation import worth_reading
from sivgap.preflight.trial import affordable, affordable_samples

SMALL = ("experiment=smoke", "problems=6", "engine.threads=1")


def looked(tmp_path, done) -> dict:
    folder = tmp_path / done.stdout.splitlines()[-1]
    assert {path.name for path in folder.iterdir()} == {"preflight.json", "preflight.md"}
    return json.loads((folder / "preflight.json").read_text())


def test_a_preflight_shows_what_a_run_would_and_leaves_no_run(command, tmp_path):
    done = command("preflight", *SMALL, "dataset.train_size=64")
    assert done.returncode == 0, done.stderr
    found = looked(tmp_path, done)
    assert [path.name for path in tmp_path.iterdir()] == ["preflight"]
    assert (found["wanted"], found["measured"]["prompts"], found["measured"]["samples"]) == (6, 6, 4)
    assert sum(row["right"] + row["wrong"] for row in found["histogram"]) == 24
    assert sum(found["ends"].values()) == 24
    assert {"train panel: sampling", "training", "test panel: verifying"} <= found["cost"]["seconds"].keys()
    assert found["cost"]["complete"]
    assert found["cost"]["hours"] * 3600 == pytest.approx(sum(found["cost"]["seconds"].values()))
    one, other = found["conversations"]
    assert one["problem"] != other["problem"]
    assert one["prompt"].startswith("<bos>Question: ")
    assert one["response"].endswith("<eos>")
    assert one["verdicts"][0]["question"].strip() == "Score:"
    assert one["verdicts"][0]["value"] == pytest.approx(one["score"], abs=1e-6)
    assert any("measure.test_prompts" in sentence for sentence in found["sentences"])  # smoke measures 16
    for sentence in found["sentences"]:
        assert f"beware: {sentence}" in done.stderr
    page = (tmp_path / done.stdout.splitlines()[-1] / "preflight.md").read_text()
    assert one["prompt"] in page


@pytest.mark.parametrize(
    "overrides",
    [
        ("verifier=gold",), ("verifier=tournament", "model=tiny_xs", "n=8"), ("update=rpo",),
        ("verifier=ensemble", "verifier.members=[qe,tf]", "selection.quantile=0.5"), ("verifier.readout=sampled",),
    ],
    ids=["gold", "tournament", "rpo", "ensemble", "sampled"],
)  # fmt: skip
def test_every_kind_of_verifier_and_update_can_be_looked_at(overrides, command, tmp_path):
    done = command("preflight", *SMALL, "update.replay=0", *overrides, "problems=2")
    assert done.returncode == 0, done.stderr
    verdicts = looked(tmp_path, done)["conversations"][0]["verdicts"]
    names = [verdict["verifier"] for verdict in verdicts]
    assert len(names) == {"verifier=gold": 0, "verifier=ensemble": 2}.get(overrides[0], 1)


def test_several_at_once_each_have_a_folder(command, tmp_path):
    done = command("preflight", "-m", *SMALL, "problems=2", "verifier=qe,tf")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "preflight").iterdir()} == {"tiny-arithmetic-qe", "tiny-arithmetic-tf"}


def test_with_no_time_two_problems_are_tried_and_that_is_said(command, tmp_path):
    done = command("preflight", *SMALL, "minutes=0.001", "out=here")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "here"
    assert looked(tmp_path, done)["measured"]["prompts"] == 2
    assert "2 problems (of 6: no time for more on this machine)" in done.stderr
    assert "without training" in done.stderr


def test_a_wrong_setting_is_one_sentence_before_anything_is_loaded(command):
    done = command("preflight", "problem=3")
    assert done.returncode == 2
    assert "unknown key 'problem'; did you mean 'problems'" in done.stderr


@pytest.mark.parametrize(
    ("correct", "places"),
    [([[0, 0], [0, 1]], [(1, 1), (0, 0)]), ([[1, 0], [1, 1]], [(0, 0), (1, 0)]), ([[0, 0], [0, 0]], [(0, 0), (1, 0)]),
     ([[0, 1]], [(0, 1)])],
)  # fmt: skip
def test_the_conversations_are_a_right_and_a_wrong_one_of_different_problems(correct, places):
    shape = np.shape(correct)
    zeros = np.zeros(shape)
    grades = [Grade(None, bool(right), False) for right in np.ravel(correct)]
    rollouts = Rollouts([], zeros, zeros.astype(int), zeros.astype(int))
    choice = Choice(np.zeros(shape[0], dtype=int), np.ones(shape[0], dtype=bool), np.ones(shape, dtype=bool))
    assert worth_reading(Panel(rollouts, [], Scores(zeros, zeros), grades, choice)) == places


def test_as_many_problems_are_tried_as_there_is_time_for():
    assert affordable(lambda count: 10 + count, 30, 16, 2) == 10
    assert affordable(lambda count: 10 + count, 300, 16, 2) == 16
    assert affordable(lambda count: 10 + count, 11, 16, 2) == 0


def test_more_problems_go_before_more_responses_to_each():
    assert affordable_samples(lambda count: 1.0 * count, 64, 16, 4) == 4
    assert affordable_samples(lambda count: 1.0 * count, 63, 16, 4) == 2
    assert affordable_samples(lambda count: 1.0 * count, 1, 16, 1) == 1
