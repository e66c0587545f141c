"""Runs and sweeps under test: what a run measured, a small sweep as a user types it, what became of its jobs."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from sivgap.config.app import validate
from sivgap.config.locate import conf_dir
from sivgap.config.schema import TrainConfig

SMALL = ("experiment=smoke", "epochs=1", "tracking.wandb.mode=disabled", "engine.threads=1")
SEEDS = ("-m", *SMALL, "seed=0,1")
TIMES = ("seconds_generate", "seconds_verify", "seconds_train")


def composed(*overrides: str) -> TrainConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return validate(compose("train", list(overrides)), TrainConfig)


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "trajectory.jsonl").read_text().splitlines()]


def numbers(run: Path) -> list[dict]:
    """The trajectory without the clock."""
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines(run)]


def close(mine: Path, theirs: Path, within: float = 1e-6) -> None:
    """The same responses, chosen alike, and the same numbers to a millionth, or what is said."""
    for x, y in zip(lines(mine), lines(theirs), strict=True):
        assert x.keys() == y.keys()
        for key in x.keys() - set(TIMES):
            same = pytest.approx(y[key], abs=within, rel=within) if isinstance(x[key], float) else y[key]
            assert x[key] == same, key
    for path in sorted((theirs / "samples").iterdir()):
        a, b = pd.read_parquet(mine / "samples" / path.name), pd.read_parquet(path)
        exact = ["problem_id", "sample", "text", "length", "finished", "correct", "selected"]
        pd.testing.assert_frame_equal(a[exact], b[exact])
        np.testing.assert_equal(list(a.tokens), list(b.tokens))
        assert a.nll.to_numpy() == pytest.approx(b.nll.to_numpy(), abs=1e-4)


def of_jobs(sweep: Path) -> dict[str, list[dict]]:
    """The numbers of every job, by its name."""
    jobs = json.loads((sweep / "sweep.json").read_text())["jobs"]
    return {job["name"]: numbers(sweep.parent / job["run"]) for job in jobs}


def attempts(sweep: Path) -> dict[str, list[str]]:
    """The outcomes of every job's attempts, by its name."""
    jobs = json.loads((sweep / "sweep.json").read_text())["jobs"]
    files = {job["name"]: sweep / "jobs" / f"{job['identity']}.json" for job in jobs}
    return {name: [a["outcome"] for a in json.loads(file.read_text())] for name, file in files.items() if file.exists()}


def start(folder: Path, *arguments: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sivgap.train", *arguments], cwd=folder, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **env},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def worker(folder: Path, seconds: float = 90) -> int:
    """The process that works on a run, once it has measured something."""
    for _ in range(int(seconds / 0.05)):
        for run in folder.glob("runs/tiny-*"):
            found = re.match(r"process (\d+) on", (run / ".lock").read_text()) if (run / ".lock").exists() else None
            status = run / "status.json"
            going = status.exists() and '"running"' in status.read_text()
            if found and going and (run / "trajectory.jsonl").exists():
                return int(found[1])
        time.sleep(0.05)
    raise AssertionError("no run began")


def ranks_of(process: int) -> list[int]:
    """The ranks that a run's process has started."""
    return [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
