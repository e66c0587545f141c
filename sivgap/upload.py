"""``python -m sivgap.upload runs=DIR_OR_GLOB``: send runs to W&B afterwards, each measurement once.

The run directory is what is sent: trajectory, configuration, samples. So it does not matter whether a run was offline,
lost W&B on the way, was killed and resumed, or how often this is done: what W&B has is left as it is, and what is
missing follows. (`wandb sync` would send a folder of each attempt, each of which begins with the first measurement.)
Imports neither torch nor transformers.
"""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError, model_validator

from sivgap.config.app import run_app
from sivgap.config.schema import WandbConfig
from sivgap.config.settings import Settings
from sivgap.errors import RunError

if TYPE_CHECKING:
    from sivgap.runtime.display import Display

_IN_A_ROW = 2
"""Runs that W&B may refuse one after the other before the rest is not tried: it is W&B then, and not the run."""


class UploadConfig(Settings):
    runs: str | None = None
    """A run directory, or a pattern of several (in quotes)."""
    sweep: str | None = None
    """A sweep's directory: its runs as a group, called by what differs."""
    project: str | None = None
    """Project on W&B; null: the one that each run names (``tracking.wandb.project``)."""
    entity: str | None = None
    """User or team on W&B; null: likewise, or the one that the key belongs to."""
    timeout: float = Field(default=60, gt=0)
    """Seconds to wait for W&B, at the start and at the end of each run."""

    @model_validator(mode="after")
    def _one_source(self) -> UploadConfig:
        if (self.runs is None) == (self.sweep is None):
            raise ValueError("expected one of runs=DIR and sweep=DIR")
        return self


def main() -> None:
    run_app("upload", UploadConfig, upload)


def upload(config: UploadConfig) -> None:
    """Send what is missing; prints the address of each run.

    Raises:
        ConfigError: If there is no such run.
        RunError: If a run cannot be read, or W&B does not take it; what was sent before stays sent.
    """
    from sivgap.runtime.display import Display

    display = Display()
    chosen = list(_chosen(config))
    failed: list[str] = []
    refused = 0
    for folder, wandb in chosen:
        try:
            with _alone(folder) as free:
                if free:
                    print(_upload_run(folder, wandb, display))
                else:
                    display.say(f"{folder}: a process is working on this run; upload it when that is done")
            refused = 0
        except RunError as error:
            display.say(str(error))
            failed.append(str(error))
            refused += 1
            if refused == _IN_A_ROW:
                break
    if failed:
        raise RunError(
            f"{len(failed)} of {len(chosen)} runs not sent ({failed[-1]}); nothing is lost, the same command goes on"
        )


def _chosen(config: UploadConfig) -> Iterator[tuple[Path, WandbConfig]]:
    """Every run with where it goes on W&B."""
    from sivgap.runs.load_curves import run_folders
    from sivgap.runs.sweep_manifest import Sweep
    from sivgap.sweep.job import named

    there: dict[str, Any] = {"mode": "online", "timeout": config.timeout}
    there |= {k: v for k, v in (("project", config.project), ("entity", config.entity)) if v is not None}
    if config.sweep is None:
        for folder in run_folders(config.runs or ""):
            yield folder, _wandb_config(folder).model_copy(update=there)
        return
    sweep = Sweep(Path(config.sweep))
    for job in sweep.jobs:
        folder = sweep.run_path(job)
        if (folder / "trajectory.jsonl").is_file():
            yield folder, named(_wandb_config(folder), sweep, job).model_copy(update=there)


def _upload_run(folder: Path, wandb: WandbConfig, display: Display) -> str:
    """Send what is missing of one run, and ask W&B whether it has it; the run's address."""
    from sivgap.runs.trajectory import Trajectory
    from sivgap.tracking.wandb_run import Source, WandbRun
    from sivgap.tracking.wandb_tracker import reason_of

    status = _mapping(folder / "status.json")
    if "id" not in status:
        raise RunError(f"{folder / 'status.json'}: has no id; this is no run of sivgap.train")
    lines = whole_measurements(Trajectory(folder / "trajectory.jsonl").read())
    if not lines:
        raise RunError(f"{folder}: nothing is measured yet")
    source = Source(str(status["id"]), folder.name, folder, _mapping(folder / "config.yaml"))
    complete = status.get("state") == "complete"
    with tempfile.TemporaryDirectory(prefix="sivgap-upload-", ignore_cleanup_errors=True) as files:
        try:
            run = WandbRun(wandb, source, Path(files), from_here=False)
            for _, measured in groupby(lines, key=lambda line: line["epoch"]):
                run.pass_on(list(measured))
            run.finish(lines, failed=not complete)
            arrived = run.arrived(lines)
        except Exception as error:  # its client raises many kinds
            raise RunError(f"{folder}: W&B did not take it ({reason_of(error)})") from error
    if not arrived:
        raise RunError(f"{folder}: W&B took only some of the measurements")
    display.say(f"{folder}: {run.sent} measurements sent" if run.sent else f"{folder}: W&B has all of it")
    return run.url or ""


def whole_measurements(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`lines` without a last measurement that a kill cut in two: a row on W&B cannot be completed later, and the run
    makes this one again. The held-out panel's line is written last."""
    if not lines or lines[-1]["split"] == "test":
        return lines
    return [line for line in lines if line["epoch"] != lines[-1]["epoch"]]


def _wandb_config(folder: Path) -> WandbConfig:
    """What the run says of W&B."""
    tracking = _mapping(folder / "config.yaml").get("tracking") or {}
    try:
        return WandbConfig.model_validate(tracking.get("wandb") or {})
    except ValidationError as error:
        raise RunError(f"{folder / 'config.yaml'}: tracking.wandb cannot be read; repair it") from error


def _mapping(path: Path) -> dict[str, Any]:
    from sivgap.runtime.read import read_yaml

    try:
        found = read_yaml(path, path.parent)
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read, and W&B needs it") from error
    if not isinstance(found, dict):
        raise RunError(f"{path}: expected settings, found something else")
    return found


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether nobody works on the run; while this is open, nobody will."""
    try:
        lock = (folder / ".lock").open("a")
    except OSError as error:
        raise RunError(f"{folder}: cannot be locked ({error.strerror}); is it yours to write to?") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


if __name__ == "__main__":
    main()
