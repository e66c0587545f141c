"""`python -m sivgap.upload` where there is no W&B; with one: ``make wandb-test``."""

import fcntl
import json
import subprocess
import sys

import pytest

from sivgap.tracking.wandb_server import Held

NOWHERE = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40}


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "trajectory.jsonl").write_text(json.dumps({"epoch": 0.0, "split": "test", "solver_accuracy": 0.5}) + "\n")
    (folder / "status.json").write_text('{"id": "abc", "state": "complete"}')
    (folder / "config.yaml").write_text("tracking: {wandb: {mode: offline, project: mine}}\n")
    return folder


def test_what_is_held_are_the_first_measurements():
    counted = Held(rows=2, epoch=9.0)
    assert [counted.has(number, number / 2) for number in (1, 2, 3)] == [True, True, False]
    uncounted = Held(epoch=0.5)
    assert [uncounted.has(number + 1, number / 2) for number in range(3)] == [True, True, False]
    assert not Held().has(1, 0.0)


def test_a_wandb_out_of_reach_is_a_sentence_and_changes_nothing(run, command):
    before = {path: path.read_bytes() for path in run.iterdir()}
    done = command("upload", "runs=runs/one", "timeout=3", **NOWHERE)
    assert done.returncode == 1
    assert "nothing is lost" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in run.iterdir() if path.name != ".lock"} == before


def test_a_run_that_is_worked_on_is_left_alone(run, command):
    with (run / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = command("upload", "runs=runs/one", **NOWHERE)
    assert done.returncode == 0, done.stderr
    assert "working on this run" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "expected"),
    [
        ((), 2, "one of runs=DIR and sweep=DIR"),
        (("runs=runs/absent",), 2, "no run directory"),
        (("sweep=runs",), 1, "no sweep"),
    ],
)
def test_what_is_not_there_is_said(run, command, arguments, status, expected):
    done = command("upload", *arguments, **NOWHERE)
    assert done.returncode == status
    assert expected in done.stderr


def test_a_broken_run_is_named(run, command):
    (run / "config.yaml").write_text("tracking: {wandb: {mode: sideways}}\n")
    done = command("upload", "runs=runs/one", **NOWHERE)
    assert done.returncode == 1
    assert "config.yaml: tracking.wandb cannot be read" in done.stderr


def test_sending_runs_loads_neither_torch_nor_transformers():
    code = "import sys, sivgap.upload, sivgap.tracking.wandb_run, sivgap.sweep.job; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
