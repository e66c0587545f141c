"""A sivgap command in a process forked from this one, whose imports it shares: it begins to work within a second.

What is left out is the start of Python and the imports, which read and write nothing of a run. The child is a process
of its own in every other way: its own session, its own signals and limits, the command's own `main`.
"""

import importlib
import multiprocessing
import os
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

ROOT = Path(__file__).parents[2]
_HEAVY = ("sivgap.loop.session", "sivgap.config.app", "sivgap.report.summary", "sivgap.report.evaluation",
          "sivgap.report.fit_figure", "sivgap.dynamics.analysis", "sivgap.sweep.sweeper",
          "hydra_plugins.sivgap_sweeper")  # fmt: skip


def ready() -> None:
    """Import here what commands would import; nothing is computed, so no thread is lost in a fork."""
    os.environ |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    for name in _HEAVY:
        importlib.import_module(name)


def forked(folder: Path, log: Path, name: str, *arguments: str) -> BaseProcess:
    """``python -m sivgap.NAME ARGUMENTS`` in `folder`; what it says is appended to `log`."""
    process = multiprocessing.get_context("fork").Process(target=_command, args=(folder, log, name, arguments))
    process.start()
    return process


def _command(folder: Path, log: Path, name: str, arguments: tuple[str, ...]) -> None:
    os.setsid()
    os.chdir(folder)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(written, 1)
    os.dup2(written, 2)
    sys.argv = [f"sivgap.{name}", *arguments]
    module = importlib.import_module(f"sivgap.{name}")
    sys.modules["__main__"] = module  # as under -m: a sweep's jobs ask what the main module is called
    module.main()
