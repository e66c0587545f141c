"""What a user sees of a run that takes long, in a file and on a terminal."""

import re
import subprocess
import sys
import time
from itertools import pairwise

import pytest
from commands import run_command
from rich.console import Console
from small_runs import composed

import sivgap.runtime.display
from sivgap.core.problem import Problem
from sivgap.loop.schedule import Schedule
from sivgap.loop.scoring import _Watched
from sivgap.loop.workload import Workload, verdict_cost
from sivgap.report.terminal import show_summary
from sivgap.runtime.display import Display
from sivgap.runtime.log import logged
from sivgap.runtime.signals import handle_signals
from sivgap.runtime.time_left import TimeLeft, until_end


@pytest.fixture
def hurried(monkeypatch):
    """A line every 0.2 s instead of every 30."""
    monkeypatch.setattr(sivgap.runtime.display, "EVERY", 0.2)
    monkeypatch.setattr(sivgap.runtime.display, "FIRST", 0.1)


def test_a_phase_that_is_told_nothing_still_says_that_it_goes_on(hurried, capsys, tmp_path):
    with logged(tmp_path / "sivgap.log"):
        display = Display()
        with display.phase("training", 4, "steps"):
            time.sleep(0.7)
        with display.phase("loading", None):
            time.sleep(0.3)
    said = capsys.readouterr().err.splitlines()
    of_steps = [line for line in said if re.fullmatch(r"training: 0 of 4 steps, [01] s so far", line)]
    assert 3 <= len(of_steps) <= 5
    assert said[-1] == "loading: 0 s so far"
    assert [line.partition("sivgap: ")[2] for line in (tmp_path / "sivgap.log").read_text().splitlines()] == said


def test_many_short_phases_are_not_silent_together(hurried, capsys):
    display = Display()
    for _ in range(12):
        with display.phase("verifying", 1):
            time.sleep(0.05)
    assert 2 <= len(capsys.readouterr().err.splitlines()) <= 4


def test_a_line_says_how_far_how_fast_and_how_long_the_whole_run_will_take(hurried, capsys):
    display = Display()
    display.left.plan({"responses": 3600.0})
    with display.phase("sampling", 8, kind="responses", each=16) as advance:
        for _ in range(30):
            advance(0.01, 20)  # 0.3 of 8 prompts in some 0.3 s: 128 of 3600 responses take 8 s
            time.sleep(0.01)
        time.sleep(0.2)
    line = capsys.readouterr().err.splitlines()[-1]
    found = re.fullmatch(r"sampling: 0\.[23] of 8 prompts, ([\d,]+) tokens/s, about (\d+) (s|min) left", line)
    assert found, line
    assert 500 < int(found[1].replace(",", "")) < 2000
    assert 150 < int(found[2]) * (60 if found[3] == "min" else 1) < 800


def test_a_thousand_calls_a_second_cost_next_to_nothing():
    with Display().phase("sampling", 8) as advance:
        begun = time.process_time()
        for _ in range(10_000):
            advance(0.0001, 3)
        assert time.process_time() - begun < 0.5


def test_a_bar_of_a_terminal_moves_within_a_prompt(monkeypatch):
    display = Display()
    display.console = Console(force_terminal=True, width=140, record=True)
    with display.phase("sampling", 2) as advance:
        advance(0.5, 100)
        time.sleep(0.3)
    assert "0.5 of 2 prompts" in display.console.export_text()


def test_time_left_is_what_the_rest_of_the_work_takes_at_the_pace_so_far():
    left = TimeLeft()
    left.plan({"responses": 100.0, "prompts": 10.0})
    assert left.seconds() is None
    assert left.seconds("responses", 10, 5.0) == pytest.approx(90 * 0.5 + 10 * 0.5)  # of training nothing is known
    left.took("responses", 50, 25.0)
    left.took("prompts", 2, 8.0)
    assert left.seconds() == pytest.approx(50 * 0.5 + 8 * 4.0)
    assert left.seconds("prompts", 1, 4.0) == pytest.approx(50 * 0.5 + 7 * 4.0)
    left.took("responses", 60, 30.0)  # more than planned
    left.took("prompts", 8, 32.0)
    assert left.seconds() == 0
    assert until_end(0.0) == until_end(0.4) == until_end(None) == ""


def test_time_left_of_work_that_has_not_begun_rests_on_its_estimated_cost_and_then_on_its_own():
    left = TimeLeft()
    left.plan({"responses": 100.0, "verdicts": 100.0}, {"verdicts": 0.2})
    assert left.seconds("responses", 10, 5.0) == pytest.approx(90 * 0.5 + 100 * 0.1)
    left.took("responses", 100, 0.0)  # all were stored: the verdicts' own pace counts
    assert left.seconds("verdicts", 50, 5.0) == pytest.approx(5.0)


def test_a_verdict_that_is_read_off_costs_less_than_one_that_is_justified_and_two_cost_more():
    def cost(*verifier: str) -> float:
        return verdict_cost(composed(*verifier, "sampling.max_new_tokens=512", "update.replay=0"))

    assert cost("verifier=gold") == 0
    said = cost("verifier=tf", "verifier.readout=sampled", "verifier.max_new_tokens=16")
    assert 0 < cost("verifier=mc") < said < cost("verifier=cot_binary", "verifier.max_new_tokens=256") < 1
    assert cost("verifier=ensemble", "verifier.members=[tf,mc]") > cost("verifier=mc")


def test_a_problem_of_an_evaluation_is_sampled_before_it_is_verified_and_each_is_counted_whole():
    display = Display(quiet=True)
    display.left.plan({"responses": 16.0, "verdicts": 16.0})
    problems = [Problem(f"p{i}", "?", "1") for i in range(8)]
    with handle_signals() as stop:
        watched = _Watched(display, stop, 8, 2)
        for what, kind in (("sampling", "responses"), ("verifying", "verdicts")):
            with watched.phase(what, kind, 0, problems) as heard:
                heard(4.0, 10)
                assert display._phase.count() == "4 of 8 prompts"
    assert display.left.seconds() == 0


@pytest.mark.parametrize(("halves", "every"), [(2, 1), (8, 1), (7, 2)])
def test_the_work_to_come_of_each_half_epoch_adds_up_to_that_of_the_run(halves, every):
    schedule = Schedule(problems=64, prompts_per_epoch=33, halves=halves, halves_per_measurement=every, seed=0)
    work = Workload(schedule, samples=4, measured=128, in_pass=False)
    assert schedule.size(0) + schedule.size(1) == 33
    assert [schedule.size(h) for h in range(halves)] == [len(schedule.prompts(h)) for h in range(halves)]
    whole = work.to_come(0, measured=False, labelled=False)
    measurements = sum(schedule.measures(half) for half in range(halves + 1))
    assert whole["responses"] == whole["verdicts"] == whole["prompts"] * 4 + measurements * 128
    for before, after in pairwise(work.to_come(h, measured=True, labelled=False) for h in range(halves + 1)):
        assert before["prompts"] - after["prompts"] in (16, 17)
    assert not any(after.values())


def test_the_last_line_of_a_run_says_nothing_is_left_by_saying_nothing(tmp_path):
    done = run_command(tmp_path, "train", "experiment=smoke", "tracking.wandb.mode=disabled", "engine.threads=1")
    measured = [line for line in done.stderr.splitlines() if line.startswith("epoch ")]
    assert [line.split()[1] for line in measured] == ["0.00/1", "0.50/1", "1.00/1"]
    assert "left" not in measured[-1]
    assert " 0 s left" not in done.stderr
    said = [line.partition(":")[0] for line in done.stderr.splitlines()]
    assert (
        said.index("model")
        < said.index("first prompt, 11 tokens")
        < said.index("to come")
        < said.index(next(line.partition(":")[0] for line in measured))
    )
    assert (
        "tiny, 0.857 M parameters, float32, cpu, threads 1, context 256 tokens, a response ends with <eos>"
        in done.stderr
    )
    assert "<bos>Question: 28*7-131\\nSolution: " in done.stderr  # escaped, special tokens visible


def test_the_table_of_a_run_has_the_accuracy_of_all_samples_and_marks_an_auroc_on_few(capsys):
    line = {"split": "test", "epoch": 0.0, "n_prompts": 8, "n_samples": 4, "solver_accuracy": 0.125, "score_auroc": 0.9,
            "pass_at_k": {"1": 3 / 32, "2": 0.2}}  # fmt: skip
    show_summary(Display(), [line, {**line, "epoch": 1.0, "pass_at_k": {"1": 1 / 32, "2": 0.1}}], None)
    said = capsys.readouterr().err
    for words in ("all N samples", "0.094", "first response", "0.125", "AUROC rests on 1 right response"):
        assert words in said


WARNED = """
import logging, sys, warnings
from pathlib import Path
from sivgap.runtime.log import logged, silence_libraries

logging.getLogger("torch").addHandler(logging.StreamHandler())  # as torch does
logging.getLogger("torch").propagate = False
with logged(Path(sys.argv[1])):
    silence_libraries()
    warnings.warn("an old name", FutureWarning)
    logging.getLogger("transformers.models").warning("some weights are new")
    logging.getLogger("torch.anything").warning("a slow way")
"""


def test_what_libraries_warn_of_is_in_the_log_and_not_on_the_terminal(tmp_path):
    log = tmp_path / "sivgap.log"
    command = [sys.executable, "-c", WARNED, str(log)]  # a process of its own: pytest has warnings for itself
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    for text in ("an old name", "some weights are new", "a slow way"):
        assert log.read_text().count(text) >= 1
