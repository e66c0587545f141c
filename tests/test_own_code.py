"""Tasks and updates of a user's own module: a run with them, and what is said where they are wrong."""

import json
import sys

import pytest

from sivgap.config.dataset import DatasetConfig
from sivgap.errors import ConfigError, RunError
from sivgap.grading.equal import comparer
from sivgap.tasks.grade import forms_of, grade
from sivgap.tasks.load import load_dataset

OWN = '''
import random

from sivgap.grading.grade import Grade
from sivgap.core.problem import Problem
from sivgap.tasks.task import Task
from sivgap.update.sft import Sft


class Parity(Task):
    """Whether the last character is even."""

    form = "answer_line"
    sizes = (32, 16)

    def generate(self, part, count, seed):
        rng = random.Random(f"{part} {seed}")
        sums = [f"{rng.randint(1, 9)}+{rng.randint(1, 9)}*{i % 7}" for i in range(count)]
        return [Problem(f"{part}/{i}", text, "even") for i, text in enumerate(sums)]

    def grade(self, responses, references, comparer, forms):
        even = [text[-1:] in tuple("02468") for text in responses]
        return [Grade(text[-1:], right, right, key="=" + text[-1:]) for text, right in zip(responses, even)]


class Read(Task):
    """Whatever a file has."""


class Careless(Parity):
    def grade(self, responses, references, comparer, forms):
        return [None]


class Broken(Parity):
    def generate(self, part, count, seed):
        return 1 / 0


class Half(Sft):
    """Half of the usual loss."""

    def loss(self, batch):
        return super().loss(batch) * self.config.settings["weight"]
'''
SMALL = ("model=tiny_xs", "measure.train_prompts=8", "measure.test_prompts=8", "prompts_per_epoch=16", "n=2",
         "epochs=0.5", "tracking.wandb.mode=disabled")  # fmt: skip


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's in the folder where the command is typed."""
    (tmp_path / "a_users_own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("a_users_own", None)


def settings(name: str, **given) -> DatasetConfig:
    return DatasetConfig(name=f"a_users_own:{name}", prompt="chat/solve.txt", **given)


def test_a_task_of_ones_own_makes_and_grades_problems(own):
    config = settings("Parity", few_shot=2)
    dataset = load_dataset(config)
    assert (len(dataset.train), len(dataset.test), len(dataset.examples)) == (32, 16, 2)
    assert load_dataset(config) == dataset
    with comparer() as answers:
        found = grade(config.name, ["it is 4", "it is 5"], ["even", "even"], answers, forms_of(config))
    assert [one.correct for one in found] == [True, False]


def test_a_task_of_ones_own_may_read_a_file_and_grade_as_mathematics(own):
    lines = [{"question": f"{i}/2?", "reference": rf"\frac{{{i}}}{{2}}"} for i in range(12)]
    (own / "halves.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    dataset = load_dataset(settings("Read", path="halves.jsonl", test_path="halves.jsonl"))
    assert [problem.question for problem in dataset.train] == [f"{i}/2?" for i in range(12)]
    with comparer() as answers:
        found = grade("a_users_own:Read", [r"\boxed{1.5}", r"\boxed{2}"], [r"\frac{3}{2}"] * 2, answers)
    assert [one.correct for one in found] == [True, False]


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("Read", RunError, "makes no problems itself; give a file"),
        ("Broken", RunError, r"ZeroDivisionError: division by zero \(a_users_own.py, line"),
        ("Half", RunError, "dataset=a_users_own:Half fails: TypeError"),
        ("Nothing", ConfigError, "has no 'Nothing'"),
    ],
)
def test_what_is_wrong_with_ones_own_task_is_one_sentence(name, error, said, own):
    with pytest.raises(error, match=said):
        load_dataset(settings(name))


def test_grades_of_ones_own_task_are_checked(own):
    with comparer() as answers, pytest.raises(RunError, match="expected a Grade for each of 2 responses"):
        grade("a_users_own:Careless", ["1", "2"], ["1", "2"], answers)


def test_a_run_with_ones_own_task_and_update_is_told_apart_by_their_code(own, command):
    typed = (*SMALL, "dataset=a_users_own:Parity", "verifier=gold", "update=a_users_own:Half")
    runs = [command("train", *typed, f"update.settings.weight={weight}") for weight in ("0.5", "1.0", "0.5")]
    for run in runs:
        assert run.returncode == 0, run.stderr
    first, other, again = (run.stdout.splitlines()[-1] for run in runs)
    assert first == again != other
    assert "Parity-gold-seed0" in first
    (own / "a_users_own.py").write_text(OWN + "\n# changed\n")
    changed = command("train", *typed, "update.settings.weight=0.5")
    assert changed.stdout.splitlines()[-1] not in (first, other)
    losses = [
        json.loads((own / run / "trajectory.jsonl").read_text().splitlines()[-1])["train_loss"]
        for run in (first, other)
    ]
    assert losses[0] == pytest.approx(losses[1] / 2, rel=1e-6)


def test_what_is_no_update_is_refused_before_training(own, command):
    done = command("train", *SMALL, "update=a_users_own:Parity")
    assert done.returncode == 2
    assert "expected a subclass of sivgap.update.sft.Sft" in done.stderr
