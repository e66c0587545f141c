"""Grading and writing wait for nobody, nobody waits for them without need, and nothing of them is lost."""

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict

import pytest
from small_runs import SMALL, composed, lines
from stop_at import StopAt
from test_evaluate import run as run_evaluation

import sivgap.loop.components
import sivgap.loop.recorder
import sivgap.loop.scoring
from sivgap.engines.hf import HFEngine
from sivgap.errors import Stopped
from sivgap.loop.session import open_experiment
from sivgap.runs.checkpoint import Progress, load_newest
from sivgap.runs.run import Run
from sivgap.runtime.background import Background
from sivgap.runtime.display import Display
from sivgap.runtime.signals import StopRequest
from sivgap.tasks.grade import grade_samples
from sivgap.train import improve
from sivgap.update.sft import Sft


def test_work_is_done_in_order_and_all_of_it_by_the_end():
    begun, done = threading.Event(), []

    def work(number: int) -> None:
        assert begun.wait(60)
        done.append(number)

    with Background() as background:
        for number in range(5):
            background.later(work, number)
        assert done == []
        begun.set()
    assert done == [0, 1, 2, 3, 4]


def test_behind_a_failure_nothing_is_done_and_the_failure_is_told():
    done = []

    def fail() -> None:
        raise OSError(28, "no space")

    def several(settled: bool) -> None:
        with Background() as background:
            background.later(done.append, 1)
            background.later(fail)
            background.later(done.append, 2)
            if settled:
                background.settle()

    for settled in (False, True):
        with pytest.raises(OSError, match="no space"):
            several(settled)
    assert done == [1, 1]


def test_what_ended_the_block_is_told_rather_than_what_failed_beside_it():
    background = Background()
    with pytest.raises(KeyError, match="first"), background:
        raise KeyError(background.later(int, "no number") and "first")


def test_an_interruption_drops_what_has_not_begun():
    go_on, done = threading.Event(), []
    background = Background(go_on.set)

    def work() -> None:
        go_on.wait(60)
        done.append("first")

    with pytest.raises(KeyboardInterrupt), background:
        raise KeyboardInterrupt(background.later(work), background.later(done.append, "second"))
    assert done == ["first"]


INTERRUPTED = """
from sivgap.runtime.background import Background
from sivgap.grading.equal import comparer

if __name__ == "__main__":
    try:
        with comparer(1) as answers, Background(answers.cancel) as background:
            background.later(answers.equal, [(f"\\\\sum_{{k=1}}^{{{n}}} k", "x") for n in range(4_000)])
            while not answers._asked:
                pass
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        print("interrupted")
"""
"""The comparisons would take a worker 40 seconds and more."""


def test_an_interruption_gives_up_answers_that_are_being_compared(tmp_path):
    (tmp_path / "script.py").write_text(INTERRUPTED)  # a process of its own: a thread that waits would keep it
    begun = time.monotonic()
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=100)
    assert done.stdout == "interrupted\n"
    assert time.monotonic() - begun < 25


@pytest.fixture
def awaited(monkeypatch) -> list[tuple[str, int]]:
    """What must have begun how often before each grading goes on, "sampling" or a "step"; to be filled in."""
    wanted, begun, turn = [], Counter(), threading.Condition()

    def counted(what: str, done: Callable) -> Callable:
        def begin(*asked: object, **named: object) -> object:
            with turn:
                begun[what] += 1
                turn.notify()
            return done(*asked, **named)

        return begin

    def patient(*asked: object) -> list:
        what, least = wanted.pop(0)
        with turn:
            assert turn.wait_for(lambda: begun[what] >= least, timeout=60), f"graded before {what} number {least}"
        return grade_samples(*asked)

    for module in (sivgap.loop.components, sivgap.loop.scoring):
        monkeypatch.setattr(module, "grade_samples", patient)
    monkeypatch.setattr(HFEngine, "rollout", counted("sampling", HFEngine.rollout))
    monkeypatch.setattr(Sft, "step", counted("step", Sft.step))
    return wanted


def test_one_panel_is_graded_while_the_next_is_sampled_and_that_one_while_the_model_trains(awaited, tmp_path):
    """Train, test, labels, steps, train, test."""
    awaited += [("sampling", 2), ("step", 2), ("sampling", 5), ("sampling", 5)]
    run = Run(composed(*SMALL, "epochs=0.5", "update.batch_size=4", f"runs_dir={tmp_path}"))
    with open_experiment(run, Display(quiet=True), StopRequest()) as job:
        improve(job)
    run.close()
    measured = [(line["epoch"], line["split"]) for line in lines(run.path)]
    assert measured == [(0.0, "train"), (0.0, "test"), (0.5, "train"), (0.5, "test")]
    assert awaited == []


def test_the_next_portion_of_an_evaluation_is_sampled_while_one_is_graded(awaited, monkeypatch, tmp_path):
    monkeypatch.setattr(sivgap.loop.scoring, "RESPONSES_AT_ONCE", 16)
    awaited += [("sampling", 2), ("sampling", 3), ("sampling", 3)]
    run_evaluation(tmp_path, "model=tiny", "n=4", "panel.prompts=12", f"store={tmp_path}")
    assert awaited == []


def test_a_run_that_is_stopped_while_it_samples_labels_has_measured(tmp_path):
    """The checkpoint that knows of the measurement is there before the process leaves."""
    run = Run(composed(*SMALL, f"runs_dir={tmp_path}"))
    after_measuring = StopAt(60)  # steps of sampling, of which both panels take 56
    with pytest.raises(Stopped), open_experiment(run, Display(quiet=True), after_measuring) as job:
        improve(job)
    run.close()
    found, damaged = load_newest(run.checkpoints)
    assert damaged == []
    assert asdict(found.progress) == asdict(Progress(half=0, measured=True))
    assert [line["split"] for line in lines(run.path)] == ["train", "test"]
    assert found.trajectory == (run.path / "trajectory.jsonl").read_text()


def test_what_cannot_be_written_ends_the_run(monkeypatch, tmp_path):
    def full(*asked: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sivgap.loop.recorder, "write_samples", full)
    run = Run(composed(*SMALL, f"runs_dir={tmp_path}"))
    with pytest.raises(OSError, match="No space"), open_experiment(run, Display(quiet=True), StopRequest()) as job:
        improve(job)
    run.close()
    assert load_newest(run.checkpoints) == (None, [])
    assert lines(run.path) == []
