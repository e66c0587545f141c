"""One rank of a run, from its start by `launch` to its end."""

from __future__ import annotations

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

from sivgap.config.evaluation import EvaluateConfig
from sivgap.config.schema import TrainConfig
from sivgap.errors import SivgapError, Stopped, unexpected
from sivgap.parallel.group import Group, joined
from sivgap.parallel.launch import Handed
from sivgap.parallel.verdict import End, end_file
from sivgap.progress import Display
from sivgap.runs.files import write_json
from sivgap.runs.log import logged
from sivgap.runs.run import Run
from sivgap.signals import StopRequest, follow_parent, listening

_ORPHANED = 60.0
"""Seconds that a rank has to stop in once its parent is gone; another, which it waits for, may have died with it."""


def live(folder: Path, rank: int) -> NoReturn:
    """The whole life of rank `rank`, which finds what it needs in `folder`."""
    handed = Handed(**json.loads((folder / "run.json").read_text(encoding="utf-8")))
    threading.Thread(target=_follow, args=(handed.process,), daemon=True).start()
    end = _work(handed, folder / "meeting", rank)
    if os.getppid() == handed.process:
        write_json(end_file(folder, rank), asdict(end))
    else:  # nobody is left to read it, or to clear away
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()
    # gloo and torch's compiler, which every optimizer brings along, now and then abort in an ordinary exit.
    os._exit(end.status)


def _work(handed: Handed, meeting: Path, rank: int) -> End:
    log = Path(handed.path) / "sivgap.log"
    try:
        with (
            logged(log if rank == 0 else None),
            listening() as stop,
            joined(handed, meeting, rank) as group,
        ):
            early = _begin(handed, Display(quiet=rank > 0), stop, group)
            group.wait()
            return End(0, time.time(), early)
    except Stopped as error:
        return End(error.status, time.time(), str(error))
    except SivgapError as error:
        return End(error.status, time.time(), str(error), traceback.format_exc())
    except Exception as error:
        told = unexpected(error, log)
        return End(told.status, time.time(), str(told), traceback.format_exc())


def _begin(handed: Handed, display: Display, stop: StopRequest, group: Group) -> str | None:
    if handed.command == "evaluate":
        from sivgap.evaluate import measure

        return measure(EvaluateConfig.model_validate(handed.settings), Path(handed.path), display, stop, group)
    from sivgap.train import work

    config = TrainConfig.model_validate(handed.settings)
    return work(Run.of_rank(config, Path(handed.path), handed.identifier), display, stop, group)


def _follow(parent: int) -> None:
    follow_parent(parent)
    time.sleep(_ORPHANED)
    os._exit(1)
