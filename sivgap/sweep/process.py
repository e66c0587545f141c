"""One run in a process of its own, so that whatever ends it ends nothing else.

Processes are forked from a server that has the heavy imports done: the first one of a launcher's worker takes seconds
to start, the others hundredths. Nothing is computed in the server, so nothing but imports is shared.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from sivgap.config.schema import TrainConfig
from sivgap.errors import RankDied, SivgapError
from sivgap.runs.run import RunBusy
from sivgap.runtime.signals import SIGNALS, follow_parent

BUSY = 11
"""Exit status of a process that found its run worked on by another; only `run_isolated` sees it."""

DIED = 12
"""Exit status of a process whose run lost one of its own processes (`launch.processes`)."""

LOST = 255
"""What multiprocessing reports of a process whose server died: a scheduler that ends a job ends both."""

_PRELOADED = ["sivgap.loop.session", "sivgap.config.app", "sivgap.sweep.process"]
"""Not `sivgap.train`: it is the main module, which a new process runs again under another name."""


def run_isolated(config: TrainConfig, log: Path, wait: bool) -> int:
    """`sivgap.train.train` on `config`; its exit status, or minus the signal that ended it.

    What it prints is appended to `log`. If this process is interrupted, or dies, the run is stopped with a checkpoint.

    Args:
        config: The run.
        log: File for what it says.
        wait: Wait for another process that works on the same run, rather than return `BUSY`.
    """
    if multiprocessing.get_start_method(allow_none=True) not in multiprocessing.get_all_start_methods():
        multiprocessing.set_start_method("forkserver", force=True)  # joblib's own name, which a new process cannot read
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    process = context.Process(target=_work, args=(config.model_dump(mode="json"), str(log), wait))
    process.start()
    try:
        process.join()
    except BaseException:  # a signal's, mostly: let it write its checkpoint
        process.terminate()
        process.join()
        raise
    return int(process.exitcode or 0)


def _work(settings: dict[str, Any], log: str, wait: bool) -> None:
    """The whole life of the process."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    threading.Thread(target=follow_parent, args=(os.getppid(),), daemon=True).start()
    from sivgap.train import train

    try:
        train(TrainConfig.model_validate(settings), wait)
    except RunBusy:
        sys.exit(BUSY)
    except RankDied as error:
        print(f"sivgap: {error}", file=sys.stderr)
        sys.exit(DIED)
    except SivgapError as error:
        print(f"sivgap: {error}", file=sys.stderr)
        sys.exit(error.status)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
