"""What a launcher runs for each job of a sweep, wherever it runs it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig

from sivgap.config.app import validate
from sivgap.config.schema import TrainConfig, WandbConfig
from sivgap.errors import Stopped
from sivgap.runs.identity import identity
from sivgap.runs.sweep_manifest import Job, State, Sweep
from sivgap.runs.trajectory import final_accuracy
from sivgap.runtime.signals import SIGNALS
from sivgap.sweep.process import BUSY, DIED, LOST, run_isolated


class Interrupted(BaseException):
    """A signal asked the sweep to stop. No Exception, or Hydra would go on with the next job."""


def run_job(raw: DictConfig, folder: Path) -> float | None:
    """Work on the job of the sweep in `folder` whose composed configuration is `raw`.

    What became of it is in the manifest, never raised: to a launcher a job always ends well.

    Returns:
        The solver's accuracy on the held-out panel in the end, for sweepers that search; None if there is none yet.

    Raises:
        Interrupted: If a signal asked this process to stop.
    """
    sweep = Sweep(folder)
    os.chdir(sweep.typed_in)  # a worker of a cluster may have started anywhere
    config = validate(raw, TrainConfig)
    job = sweep.job(identity(config))
    before = next(p for p in sweep.progress() if p.job == job)
    if before.state != "complete":
        tracking = config.tracking.model_copy(update={"wandb": named(config.tracking.wandb, sweep, job)})
        _attempt(sweep, job, config.model_copy(update={"tracking": tracking}), wait=before.state == "elsewhere")
    return final_accuracy(sweep.run_path(job))


def _attempt(sweep: Sweep, job: Job, config: TrainConfig, wait: bool) -> None:
    sweep.begin(job)
    outcome: State = "stopped"
    reason: str | None = "the launcher was interrupted"
    try:
        with interruptible():
            status = run_isolated(config, sweep.log_path(job), wait)
        outcome, reason = _outcome(status, sweep.log_path(job))
    finally:
        sweep.end(job, outcome, reason)


def _outcome(status: int, log: Path) -> tuple[State, str | None]:
    if status == 0:
        return "complete", None
    if status == BUSY:
        return "elsewhere", "another process is working on this run"
    if status == LOST:
        return "lost", "all its processes were ended at once, by a scheduler perhaps"
    if status < 0:
        return "killed", f"its process was ended by {signal.Signals(-status).name}"
    said = [
        line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.startswith("sivgap: ")
    ]
    reason = said[-1].removeprefix("sivgap: ") if said else f"exit status {status}"
    if status == DIED:
        return "killed", reason
    return ("stopped" if status == Stopped.status else "failed"), reason


def named(wandb: WandbConfig, sweep: Sweep, job: Job) -> WandbConfig:
    """On W&B the sweep is a group, and a run is named by what differs."""
    return wandb.model_copy(update={"group": wandb.group or sweep.path.name, "name": wandb.name or job.name})


@contextmanager
def interruptible() -> Iterator[None]:
    """Signals that ask to stop raise `Interrupted`; those that somebody else listens to (submitit) are left to them."""

    def handle(number: int, frame: object) -> None:
        raise Interrupted(signal.Signals(number).name)

    free = [n for n in SIGNALS if signal.getsignal(n) in (signal.SIG_DFL, signal.default_int_handler)]
    before = {number: signal.signal(number, handle) for number in free}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
