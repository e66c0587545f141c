"""A run that is stopped between any two batches, again and again, ends with the numbers of one that never was."""

import json

import pytest
from small_runs import TIMES, composed
from stop_at import StopAt

from sivgap.config.schema import TrainConfig
from sivgap.errors import Stopped
from sivgap.loop.session import open_experiment
from sivgap.runs.run import Run
from sivgap.runtime.display import Display
from sivgap.runtime.signals import StopRequest
from sivgap.train import improve


def config(folder, *overrides: str) -> TrainConfig:
    small = ("experiment=smoke", "prompts_per_epoch=24", "update.batch_size=4", "n=2", "measure.test_prompts=8",
             "measure.train_prompts=8", "tracking.wandb.mode=disabled", f"runs_dir={folder}")  # fmt: skip
    return composed(*small, *overrides)


def attempt(settings: TrainConfig, stop: StopRequest) -> tuple[bool, list[dict]]:
    """One attempt at a run: whether it came to its end, and its trajectory without the clock."""
    run = Run(settings)
    try:
        with open_experiment(run, Display(), stop) as job:
            improve(job)
        done = True
    except Stopped:
        done = False
    finally:
        run.close()
    return done, [{k: v for k, v in line.items() if k not in TIMES} for line in run.trajectory.read()]


@pytest.mark.parametrize("refresh", ["half_epoch", "epoch", "step", "never"])
def test_stopped_and_resumed_is_never_stopped(tmp_path, refresh):
    _, whole = attempt(config(tmp_path / "whole", f"refresh={refresh}"), StopRequest())
    stopped = config(tmp_path / "stopped", f"refresh={refresh}")
    attempts, done = 0, False
    while not done:
        attempts += 1
        assert attempts < 30  # a measurement takes 56 steps, labels 28: some attempts end in each, some in training
        done, lines = attempt(stopped, StopAt(60 + 25 * (attempts % 2)))
    assert attempts > 2
    assert lines == whole
    assert not [p for p in (tmp_path / "stopped").rglob("*") if "-step=" in p.name or p.name.endswith(".tmp")]


def test_a_round_in_which_no_response_passes_trains_on_nothing_and_goes_on(tmp_path):
    for refresh in ("half_epoch", "step"):
        nothing = ("selection.fallback=drop", "selection.threshold=1", "update.replay=0", "verifier.readout=expected")
        settings = config(tmp_path, f"refresh={refresh}", *nothing)
        done, lines = attempt(settings, StopRequest())
        assert done
        assert lines[-1]["step"] == 0
        assert lines[-1]["train_loss"] is None
        assert lines[-1]["fallback_fraction"] == 1
        json.dumps(lines, allow_nan=False)
