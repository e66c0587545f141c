"""One rank of a run, from its start by `launch` to its end."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import threading
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from sivgap.errors import SivgapError, Stopped, unexpected
from sivgap.parallel.group import Group, joined
from sivgap.parallel.launch import WorkerSpec
from sivgap.parallel.verdict import End, end_file
from sivgap.runtime.display import Display
from sivgap.runtime.files import write_json
from sivgap.runtime.log import logged
from sivgap.runtime.signals import StopRequest, follow_parent, handle_signals

_ORPHANED = 60.0
"""Seconds that a rank has to stop in once its parent is gone; another, which it waits for, may have died with it."""


def live(folder: Path, rank: int) -> NoReturn:
    """The whole life of rank `rank`, which finds what it needs in `folder`."""
    spec = WorkerSpec(**json.loads((folder / "run.json").read_text(encoding="utf-8")))
    threading.Thread(target=_follow, args=(spec.process,), daemon=True).start()
    end = _work(spec, folder / "meeting", rank)
    if os.getppid() == spec.process:
        write_json(end_file(folder, rank), asdict(end))
    else:  # nobody is left to read it, or to clear away
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()
    # gloo and torch's compiler, which every optimizer brings along, now and then abort in an ordinary exit.
    os._exit(end.status)


def _work(spec: WorkerSpec, meeting: Path, rank: int) -> End:
    log = Path(spec.path) / "sivgap.log"
    try:
        with (
            logged(log if rank == 0 else None),
            handle_signals() as stop,
            joined(spec, meeting, rank) as group,
        ):
            early = _begin(spec, Display(quiet=rank > 0), stop, group)
            group.wait()
            return End(0, time.time(), early)
    except Stopped as error:
        return End(error.status, time.time(), str(error))
    except SivgapError as error:
        return End(error.status, time.time(), str(error), traceback.format_exc())
    except Exception as error:
        told = unexpected(error, log)
        return End(told.status, time.time(), str(told), traceback.format_exc())


def _begin(spec: WorkerSpec, display: Display, stop: StopRequest, group: Group) -> str | None:
    command = importlib.import_module(f"sivgap.{spec.command}")  # commands know of ranks, not ranks of commands
    return command.work_as_rank(spec, display, stop, group)  # type: ignore[no-any-return]


def _follow(parent: int) -> None:
    follow_parent(parent)
    time.sleep(_ORPHANED)
    os._exit(1)
