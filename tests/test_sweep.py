"""Sweeps as a user types them: resumption, failures, launchers, and what happens overnight."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from commands import run_command
from small_runs import SEEDS, SMALL, attempts, numbers, of_jobs, start, worker


def test_a_sweep_is_its_runs_a_manifest_and_a_report(undisturbed):
    folder = undisturbed.parents[1]
    assert {p.name for p in folder.iterdir()} == {"runs"}
    assert attempts(undisturbed) == {f"seed={seed}": ["complete"] for seed in range(2)}
    for name in (
        "report.html",
        "tables/runs.csv",
        "tables/settings.md",
        "tables/rounds.csv",
        "tables/pass_at_k.csv",
        "figures/rounds.png",
        "multirun.yaml",
    ):
        assert (undisturbed / name).is_file(), name
    alone = run_command(folder / "alone", "train", *SMALL, "seed=1") if (folder / "alone").mkdir() is None else None
    assert numbers(folder / "alone" / alone.stdout.strip()) == of_jobs(undisturbed)["seed=1"]


def test_the_same_command_finds_all_done(undisturbed):
    started = time.perf_counter()
    done = run_command(undisturbed.parents[1], "train", *SEEDS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"runs/{undisturbed.name}"
    assert "2 of them done before" in done.stderr
    assert time.perf_counter() - started < 60
    assert attempts(undisturbed) == {f"seed={seed}": ["complete"] for seed in range(2)}


def test_status_and_report_by_command(undisturbed):
    done = run_command(undisturbed.parents[1], "report", f"sweep=runs/{undisturbed.name}")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 complete" in done.stderr
    assert done.stdout.splitlines()[-1] == f"runs/{undisturbed.name}/report.html"


@pytest.mark.parametrize(
    ("launcher", "settings"), [("joblib", ("hydra.launcher.n_jobs=2",)), ("submitit_local", ())], ids=lambda v: str(v)
)
def test_every_launcher_gives_the_numbers_of_basic(tmp_path, undisturbed, launcher, settings):
    done = run_command(tmp_path, "train", *SEEDS, f"hydra/launcher={launcher}", *settings)
    assert done.returncode == 0, done.stderr
    sweep = tmp_path / done.stdout.splitlines()[-1]
    assert of_jobs(sweep) == of_jobs(undisturbed)
    assert {p.name for p in tmp_path.iterdir()} == {"runs"}


def test_on_wandb_a_sweep_is_a_group_and_a_run_is_called_by_what_differs(tmp_path):
    arguments = [a for a in SEEDS if "wandb" not in a]
    done = run_command(tmp_path, "train", *arguments, "seed=3,4", "tracking.wandb.mode=offline")
    assert done.returncode == 0, done.stderr
    sweep = tmp_path / done.stdout.splitlines()[-1]
    configs = [yaml.safe_load(path.read_text()) for path in tmp_path.glob("runs/tiny-*/config.yaml")]
    assert {c["tracking"]["wandb"]["group"] for c in configs} == {sweep.name}
    assert {c["tracking"]["wandb"]["name"] for c in configs} == {"seed=3", "seed=4"}
    assert len(list(tmp_path.glob("runs/tiny-*/wandb/offline-run-*"))) == 2


def test_jobs_are_called_by_what_differs(tmp_path):
    done = run_command(
        tmp_path, "train", "-m", *SMALL, "selection.threshold=0.5,0.75", "update.learning_rate=1e-4", "n=0"
    )
    assert done.returncode == 2
    assert "threshold=0.5: n: " in done.stderr


def test_a_wrong_job_is_found_before_any_starts(tmp_path):
    done = run_command(tmp_path, "train", "-m", *SMALL, "n=4,0")
    assert done.returncode == 2, done.stderr
    assert "n=0: n: input should be greater than or equal to 1" in done.stderr
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_failing_job_takes_no_other_along(tmp_path, launcher):
    done = run_command(
        tmp_path, "train", "-m", *SMALL, "dataset.train_size=64,20", "seed=0,1", f"hydra/launcher={launcher}"
    )
    assert done.returncode == 1, done.stderr
    assert "train_size=20 seed=0: failed (prompts_per_epoch=32: the training set has 20 problems" in done.stderr
    assert "2 of 4 jobs failed" in done.stderr
    assert "Traceback" not in done.stderr
    sweep = tmp_path / done.stdout.splitlines()[-1]
    assert attempts(sweep)["train_size=64 seed=1"] == ["complete"]


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_killed_job_is_tried_again_to_the_same_numbers(tmp_path, undisturbed, launcher):
    sweep = start(tmp_path, *SEEDS, f"hydra/launcher={launcher}")
    os.kill(worker(tmp_path), signal.SIGKILL)
    out, err = sweep.communicate(timeout=240)
    assert sweep.returncode == 0, err
    found = tmp_path / out.splitlines()[-1]
    assert sorted(o for outcomes in attempts(found).values() for o in outcomes) == 2 * ["complete"] + ["killed"]
    assert of_jobs(found) == of_jobs(undisturbed)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_launcher_that_ends_loses_nothing(tmp_path, undisturbed, how):
    sweep = start(tmp_path, *SEEDS)
    job = worker(tmp_path)
    sweep.send_signal(how)
    _, err = sweep.communicate(timeout=120)
    assert sweep.returncode == (-how if how == signal.SIGKILL else 75), err
    for _ in range(200):
        if not Path(f"/proc/{job}").exists():
            break
        time.sleep(0.1)
    assert not Path(f"/proc/{job}").exists()  # its job has not gone on alone
    done = run_command(tmp_path, "train", *SEEDS)
    assert done.returncode == 0, done.stderr
    assert of_jobs(tmp_path / done.stdout.splitlines()[-1]) == of_jobs(undisturbed)


def test_two_at_once_share_the_work(tmp_path, undisturbed):
    first = start(tmp_path, *SEEDS)
    worker(tmp_path)
    second = start(tmp_path, *SEEDS)
    for sweep in (first, second):
        out, err = sweep.communicate(timeout=240)
        assert sweep.returncode == 0, err
    found = tmp_path / out.splitlines()[-1]
    assert of_jobs(found) == of_jobs(undisturbed)
    for run in tmp_path.glob("runs/tiny-*"):  # every measurement was made once
        epochs = [(line["epoch"], line["split"]) for line in numbers(run)]
        assert len(epochs) == len(set(epochs))


def test_an_unreachable_wandb_stops_no_job(tmp_path, undisturbed):
    arguments = [a for a in SEEDS if "wandb" not in a]
    done = run_command(
        tmp_path, "train", *arguments, "tracking.wandb.mode=online", "tracking.wandb.timeout=5",
        "hydra/launcher=joblib", "hydra.launcher.n_jobs=2",
        WANDB_BASE_URL="http://127.0.0.1:9", WANDB_API_KEY="0" * 40, WANDB_MODE="online",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = of_jobs(tmp_path / done.stdout.splitlines()[-1])
    assert found["seed=1"] == of_jobs(undisturbed)["seed=1"]


def test_a_full_disk_fails_a_job_and_the_next_command_ends_it(tmp_path, undisturbed):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount a small disk here")
    try:
        arguments = (*SEEDS, "runs_dir=disk/runs")
        done = run_command(tmp_path, "train", *arguments)
        assert done.returncode == 1, done.stderr
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        done = run_command(tmp_path, "train", *arguments)
        assert done.returncode == 0, done.stderr
        sweep = tmp_path / done.stdout.splitlines()[-1]
        jobs = json.loads((sweep / "sweep.json").read_text())["jobs"]
        assert {job["name"]: numbers(sweep.parent / job["run"]) for job in jobs} == of_jobs(undisturbed)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
