"""Sweeps on a real SLURM: ``make slurm-test`` starts one on this machine and runs these."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from commands import run_command
from small_runs import SEEDS, attempts, numbers, of_jobs, start, worker

pytestmark = pytest.mark.skipif(not os.environ.get("SIVGAP_TEST_SLURM"), reason="needs SLURM: run make slurm-test")
SLURM = ("hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=30")


def jobs() -> list[str]:
    """Running jobs of the array, as SLURM names them."""
    done = subprocess.run(["squeue", "-h", "-t", "R", "-o", "%A"], capture_output=True, text=True, check=True)
    return done.stdout.split()


def finish(sweep: subprocess.Popen[str], folder: Path, undisturbed: Path) -> Path:
    out, err = sweep.communicate(timeout=280)
    assert sweep.returncode == 0, err
    found = folder / out.splitlines()[-1]
    assert of_jobs(found) == of_jobs(undisturbed)
    for run in folder.glob("runs/tiny-*"):
        epochs = [(line["epoch"], line["split"]) for line in numbers(run)]
        assert len(epochs) == len(set(epochs))
    return found


def test_the_numbers_are_those_of_basic(tmp_path, undisturbed):
    done = run_command(tmp_path, "train", *SEEDS, *SLURM)
    assert done.returncode == 0, done.stderr
    sweep = tmp_path / done.stdout.splitlines()[-1]
    assert of_jobs(sweep) == of_jobs(undisturbed)
    assert list(sweep.glob(".submitit/*"))


@pytest.mark.parametrize(
    "how",
    [["scontrol", "requeue"], ["scancel", "--signal=USR2", "--batch"], ["scancel"]],
    ids=["requeued", "preempted", "cancelled"],
)
def test_a_disturbed_job_ends_with_the_same_numbers(tmp_path, undisturbed, how):
    sweep = start(tmp_path, *SEEDS, *SLURM)
    worker(tmp_path)
    for job in jobs():
        subprocess.run([*how, job], check=False)
    found = finish(sweep, tmp_path, undisturbed)
    assert max(len(outcomes) for outcomes in attempts(found).values()) >= 2


def test_jobs_outlive_the_launcher(tmp_path, undisturbed):
    sweep = start(tmp_path, *SEEDS, *SLURM)
    worker(tmp_path)
    sweep.kill()
    sweep.communicate()
    for _ in range(300):
        if not subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=True).stdout.strip():
            break
        time.sleep(0.5)
    states = {json.loads(p.read_text())["state"] for p in tmp_path.glob("runs/tiny-*/status.json")}
    assert states == {"complete"}
    finish(start(tmp_path, *SEEDS, *SLURM), tmp_path, undisturbed)
