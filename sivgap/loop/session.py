"""Opening an experiment: all is loaded, signals are listened to, W&B is told; and at the end, its conclusion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from sivgap.cross.collect import collect
from sivgap.cross.external import make_timetable
from sivgap.engines.threads import settle_threads
from sivgap.errors import Stopped
from sivgap.loop.components import open_components
from sivgap.loop.experiment import Experiment
from sivgap.parallel.group import ALONE, Group
from sivgap.runs.run import Run
from sivgap.runtime.display import Display
from sivgap.runtime.hardware import describe_hardware, keep_freed_memory
from sivgap.runtime.log import silence_libraries
from sivgap.runtime.signals import StopRequest
from sivgap.tasks.load import load_dataset
from sivgap.tracking.wandb_run import Source
from sivgap.tracking.wandb_tracker import WandbTracker


@contextmanager
def open_experiment(run: Run, display: Display, stop: StopRequest, group: Group = ALONE) -> Iterator[Experiment]:
    """Load what the run needs, listen for signals, stream to W&B; at the end, conclude (picture and table).

    Of a `group` the first rank alone collects, streams and concludes; the others leave when it has.
    """
    keep_freed_memory()
    silence_libraries()
    threads_from = settle_threads(run.config, run.status, group)
    with display.phase(f"loading {run.config.dataset.name}", None):
        dataset = load_dataset(run.config.dataset)
    timetable = make_timetable(run.config, dataset.train)
    chosen = [problem for problem in dataset.train if problem.id in timetable.arrival]
    if not group.leads:
        group.wait()  # for what the first rank has collected
    external = collect(run.config, dataset, chosen, run.path / "external.jsonl", display)
    if group.leads:
        group.wait()
    with ExitStack() as opened:
        with display.phase(f"loading {run.config.model.label}", None):
            components = opened.enter_context(open_components(run.config, dataset, group))
        if group.leads:
            run.begin(describe_hardware(group.size, threads_from), components.loaded.commit)
        settings = run.config.model_dump(mode="json")
        wandb = run.config.tracking.wandb
        shown = wandb if group.leads else wandb.model_copy(update={"mode": "disabled"})
        tracker = WandbTracker(shown, Source(run.id, run.path.name, run.path, settings), display.say)
        failed = True
        try:
            experiment = Experiment(components, run, display, tracker, stop, timetable, external)
            with stop.deferred(), experiment.recorder:
                experiment.introduce()
                try:
                    yield experiment
                except Stopped:
                    experiment.settle()
                    raise
                experiment.settle()
            if group.leads:
                lines = run.trajectory.read()
                with display.phase("fitting and drawing", None):
                    # Here, since the first sample need not wait for matplotlib and lmfit.
                    from sivgap.report.summary import conclude

                    conclude(run.path, lines, display)
                tracker.finish(lines, failed=False)
            failed = False
        finally:
            if failed:
                tracker.finish([], failed=True)
