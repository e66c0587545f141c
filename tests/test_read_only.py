"""Disks that cannot be written, from the start or from some moment on: a sentence, nothing changed, later the rest."""

import gc
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from test_resume import attempt, config

from sivgap.allocate import AllocateConfig, allocate
from sivgap.config.app import validate
from sivgap.config.evaluation import EvaluateConfig
from sivgap.config.locate import conf_dir
from sivgap.cross.api_cache import ApiCache
from sivgap.errors import SivgapError, unexpected
from sivgap.evaluate import evaluate
from sivgap.fit import FitConfig, fit
from sivgap.report.__main__ import ReportConfig, report
from sivgap.runs.sweep_manifest import Job, Sweep
from sivgap.runtime.files import write_json
from sivgap.runtime.signals import StopRequest
from sivgap.train import train
from sivgap.upload import UploadConfig, upload

LAW = {"solver_initial": 2.8, "verifier_initial": 1.2, "gap_limit": 0.4, "rate": 0.35, "beta_over_alpha": 0.4}


def mounted(*command: str) -> None:
    """Run a command of mount's; skips where this user, or this machine, may not."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{' '.join(command)}: {done.stderr.strip() or 'not allowed here'}")


class Shelf:
    """A folder that can be made read-only: for root a disk of its own, since permissions do not stop root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._root = os.geteuid() == 0
        if self._root:
            mounted("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder))

    def set(self, writable: bool) -> None:
        if self._root:
            subprocess.run(["mount", "-o", f"remount,{'rw' if writable else 'ro'}", str(self.folder)], check=True)
            return
        for path in [self.folder, *self.folder.rglob("*")]:
            path.chmod(0o755 if writable else 0o555)

    def close(self) -> None:
        self.set(writable=True)
        if self._root:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)


@pytest.fixture
def shelf(tmp_path) -> Iterator[Shelf]:
    found = Shelf(tmp_path / "shelf")
    yield found
    found.close()


def evaluation(folder: Path, store: Path) -> EvaluateConfig:
    small = ("dataset.test_size=4", "n=2", f"runs_dir={folder}", f"store={store}")
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return validate(compose("evaluate", list(small)), EvaluateConfig)


def told(command: Callable[[], object]) -> str:
    """The sentence that the command ends in, as `sivgap.config.app` tells it."""
    try:
        command()
    except SivgapError as error:
        return str(error)
    except Exception as error:
        return str(unexpected(error, Path("a log")))
    return "done"


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_command_on_a_read_only_disk_ends_in_a_sentence_and_changes_nothing(shelf, tmp_path):
    here = shelf.folder
    rows = [f"{t / 2},{1 + 2 * 0.7**t:.6f},{0.8 + 0.9 * 0.7**t:.6f}" for t in range(8)]
    (tmp_path / "curves.csv").write_text("\n".join(["epoch,solver_uncertainty,verifier_uncertainty", *rows]) + "\n")
    write_json(here / "fit.json", {"coupled": {"parameters": {k: {"value": v} for k, v in LAW.items()}}}, here)
    other = config(here / "runs", "epochs=0.5", "seed=1")
    train(config(here / "runs", "epochs=0.5"))
    (run,) = (here / "runs").iterdir()
    commands = {
        "train": lambda: train(other),
        "train again": lambda: train(config(here / "runs", "epochs=0.5")),
        "sweep": lambda: Sweep.create(here / "runs" / "sweep-1", [Job("a" * 16, "x", (), "r")]),
        "evaluate": lambda: evaluate(evaluation(here / "runs", tmp_path / "store")),
        "store": lambda: evaluate(evaluation(tmp_path / "runs", here / "store")),
        "fit": lambda: fit(FitConfig(csv=str(tmp_path / "curves.csv"), out=str(here / "fits"), bootstrap=0)),
        "allocate": lambda: allocate(AllocateConfig(fit=str(here / "fit.json"), budget=0.2, horizon=2, gamma=1.0)),
        "report": lambda: report(ReportConfig(runs=str(run))),
        "upload": lambda: upload(UploadConfig(runs=str(run), timeout=1)),
        "paid answers": lambda: ApiCache(str(here / "cache"), print).__enter__(),
    }
    before = contents(here)
    shelf.set(writable=False)
    for name, command in commands.items():
        said = told(command)
        assert str(here) in said, (name, said)
        assert "Read-only" in said or "denied" in said or "cannot be written" in said, (name, said)
        assert "please report" not in said, (name, said)
    assert contents(here) == before
    shelf.set(writable=True)
    assert told(commands["train"]) == "done"


def unmount(disk: Path) -> None:
    """Wholly: what an error's frames still hold open is let go first."""
    for _ in range(40):
        gc.collect()
        if subprocess.run(["umount", str(disk)], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.25)
    raise AssertionError(f"{disk} is in use")


class Cut(StopRequest):
    """Not a signal, but a disk that is gone once the run looks for one for the `moment`-th time."""

    def __init__(self, moment: int, disk: Path) -> None:
        super().__init__()
        self._left, self._disk = moment, disk

    def __bool__(self) -> bool:
        self._left -= 1
        if self._left == 0:
            subprocess.run(["mount", "-o", "remount,abort", str(self._disk)], check=True)
        return False


def test_a_disk_that_becomes_read_only_under_a_run_ends_it_and_the_next_command_goes_on(tmp_path, monkeypatch, whole):
    """As ext4 does on an error of the device (errors=remount-ro)."""
    if os.geteuid():
        pytest.skip("needs root, to mount a disk and make it fail")
    image, disk = tmp_path / "disk.img", tmp_path / "disk"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(48 * 2**20)
    mounted("mkfs.ext4", "-q", "-F", str(image))
    mounted("mount", "-o", "loop,errors=remount-ro", str(image), str(disk))
    try:
        settings = config(disk / "runs")
        with monkeypatch.context() as patched:
            patched.setattr("sivgap.train.handle_signals", lambda: nullcontext(Cut(8, disk)))
            said = told(lambda: train(settings))
        assert "Read-only file system" in said
        assert "run the same command to go on" in said
        unmount(disk)
        mounted("mount", "-o", "loop", str(image), str(disk))
        assert (disk / "runs").exists()
        done, lines = attempt(settings, StopRequest())
        assert done
        assert lines == whole
    finally:
        with suppress(subprocess.CalledProcessError):
            subprocess.run(["umount", "-l", str(disk)], check=True)
