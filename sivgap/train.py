"""``python -m sivgap.train``: a model improves itself, measured.

SV, Algorithm 1, with t counted in half epochs:

    for t = 0, 1, 2, ...
        sample    y_1 .. y_N  ~  f_t( . | x)           for each prompt x of this half epoch      Eq. 4
        verify    s_i = verdict of f_t on (x, y_i)                                               Eq. 5
        select    y* = the likeliest a token among s_i >= tau                                    Eq. 5
        update    f_{t+1} = f_t fine-tuned on the pairs (x, y*)                                  Eq. 7
        measure   U_s, U_v and their gap on fixed panels                                         Eq. 3, 6, 8

A run's directory is its truth (`sivgap.runs`): the same command goes on where it stopped, to the same numbers.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sivgap.config.app import run_app
from sivgap.config.schema import TrainConfig
from sivgap.errors import SivgapError, Stopped, unexpected
from sivgap.parallel.group import ALONE, Group
from sivgap.parallel.launch import WorkerSpec, in_ranks, work_in_ranks
from sivgap.parallel.machines import gathered
from sivgap.parallel.place import find_place
from sivgap.runs.trajectory import final_accuracy
from sivgap.runtime.display import Display
from sivgap.runtime.log import logged
from sivgap.runtime.signals import StopRequest, handle_signals
from sivgap.sweep.job import run_job

if TYPE_CHECKING:
    from sivgap.loop.experiment import Experiment
    from sivgap.runs.run import Run

_log = logging.getLogger("sivgap")


def main() -> None:
    with gathered():
        run_app("train", TrainConfig, train, run_job)


def train(config: TrainConfig, wait: bool = False) -> float | None:
    """One run from where it stands to its end; prints its directory as the last line.

    With `wait`, another process that works on the same run is waited for.

    Returns:
        The solver's accuracy on the held-out panel in the end.

    Raises:
        ConfigError: If the configuration is wrong.
        RunError: If the run failed; the traceback is in its log.
        Stopped: If a signal asked for it; the same command goes on.
    """
    from sivgap.runs.run import Run

    config = config.model_copy(update={"launch": find_place(os.environ).settle(config.launch)})
    if config.plan:
        from sivgap.plan.command import show_plan

        show_plan(config)
        return None
    run, display = Run(config, wait), Display()
    for sentence in run.notes:
        display.say(sentence)
    try:
        if run.state == "complete" and not run.lost:
            display.say("this run is complete; fresh=true starts over beside it")
        else:
            _attempt(run, display)
    finally:
        run.close()
    print(run.path)
    return final_accuracy(run.path)


def _attempt(run: Run, display: Display) -> None:
    """Work on the run; whatever ends it is recorded in ``status.json``."""
    with logged(run.log):
        try:
            with handle_signals() as stop:
                early = _in_ranks(run, stop) if in_ranks(run.config.launch) else work(run, display, stop)
            run.mark("complete", early)
        except KeyboardInterrupt as error:
            run.mark_end("stopped", "interrupted twice")
            raise Stopped("interrupted; run the same command to go on from the last checkpoint") from error
        except Stopped as error:
            run.mark_end("stopped", str(error))
            raise
        except SivgapError as error:
            _log.exception("the run failed")
            run.mark_end("failed", str(error))
            raise
        except Exception as error:
            _log.exception("the run failed")
            told = unexpected(error, run.log)
            run.mark_end("failed", str(told))
            raise told from error


def _in_ranks(run: Run, stop: StopRequest) -> str | None:
    settings = run.config.model_dump(mode="json")
    try:
        spec = WorkerSpec("train", settings, str(run.path), run.id, run.config.launch.processes)
        return work_in_ranks(spec, stop, run.lock)
    finally:
        run.reread()


def work_as_rank(spec: WorkerSpec, display: Display, stop: StopRequest, group: Group) -> str | None:
    """`work` of one of the processes of a run."""
    from sivgap.runs.run import Run

    config = TrainConfig.model_validate(spec.settings)
    return work(Run.of_rank(config, Path(spec.path), spec.identifier), display, stop, group)


def work(run: Run, display: Display, stop: StopRequest, group: Group = ALONE) -> str | None:
    """Load, improve, finish, as one of the ranks of `group`; why the run ended early, if it did."""
    with display.phase("loading torch and transformers", None):
        from sivgap.loop.session import open_experiment  # here, not for --help

    with open_experiment(run, display, stop, group) as experiment:
        improve(experiment)
    return experiment.early_reason


def improve(run: Experiment) -> None:
    """Algorithm 1, from the newest checkpoint (or a first measurement) to the last epoch."""
    run.resume()
    while not run.finished:
        for problems in run.batches():
            rollouts = run.sample(problems)  # Eq. 4
            scores = run.verify(problems, rollouts)  # Eq. 5
            examples = run.select(problems, rollouts, scores)  # Eq. 5, or the external response, Eq. 14
            run.update(examples)  # Eq. 7
        run.measure()  # Eq. 3, 6, 8


if __name__ == "__main__":
    main()
