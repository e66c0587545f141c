"""From ``-m key=a,b`` to finished runs: plan all jobs, launch what is not done, go over what was lost, conclude."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from sivgap.config.app import validate
from sivgap.config.schema import TrainConfig
from sivgap.errors import ConfigError, RunError, SivgapError, Stopped
from sivgap.report.sweep_watch import watching
from sivgap.runs.identity import identity
from sivgap.runs.run import run_directory
from sivgap.runs.sweep_manifest import FINAL, Job, Progress, Sweep
from sivgap.runtime.display import Display
from sivgap.sweep.job import Interrupted, interruptible

if TYPE_CHECKING:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

_PASSES = 3
"""Times that a job is launched by one command: a job that was killed or lost is tried again, from its checkpoint."""


def sweep(sweeper: BasicSweeper, arguments: Sequence[str]) -> None:
    """Run every job that `arguments` name; prints the sweep's directory.

    Raises:
        ConfigError: If any job's configuration is wrong; none has been started then.
        Stopped: If a signal asked for it, or another process still works on some runs.
        RunError: If jobs failed; the others are complete.
    """
    display = Display()
    jobs, runs_dir, costed = _plan(sweeper, arguments, display)
    if costed:
        from sivgap.plan.command import show_plans

        show_plans(costed)
        return
    folder = Path(runs_dir) / f"sweep-{_digest(jobs)}"
    manifest = Sweep.create(folder, jobs)
    assert sweeper.config is not None
    assert sweeper.launcher is not None
    with open_dict(sweeper.config):  # the jobs, composed anew by whoever runs them, find their sweep by this
        sweeper.config.hydra.sweep.dir = str(folder.absolute())
        sweeper.config.hydra.overrides.hydra.append(f"hydra.sweep.dir={json.dumps(str(folder.absolute()))}")
        _spare_ray(sweeper.config)
    # Anew: what a launcher keeps for itself (submitit its logs) goes into the sweep's directory, too.
    sweeper.setup(
        hydra_context=sweeper.hydra_context, task_function=sweeper.launcher.task_function, config=sweeper.config
    )
    try:
        with interruptible(), watching(manifest, display):
            _launch(sweeper, manifest, display)
    except (Interrupted, KeyboardInterrupt) as error:
        raise Stopped("the sweep was interrupted; run the same command to go on") from error
    _conclude(manifest, display)


def _spare_ray(config: DictConfig) -> None:
    """Ray's launcher prints what jobs say among our own lines, and asks a running cluster for memory, in vain."""
    init = OmegaConf.select(config, "hydra.launcher.ray.init")
    if init is not None:
        init.setdefault("log_to_driver", False)
        if "address" in init:
            init.setdefault("object_store_memory", None)


def _plan(sweeper: BasicSweeper, arguments: Sequence[str], display: Display) -> (
    tuple[list[Job], str, list[tuple[str, TrainConfig]]]
):  # fmt: skip
    """Every job, composed and checked, in the order of the command; jobs that come to the same run are one.

    Last are those with ``plan``, of which only the cost is asked for.
    """
    assert sweeper.hydra_context is not None
    assert sweeper.config is not None
    loader = sweeper.hydra_context.config_loader
    parsed = OverridesParser.create(config_loader=loader).parse_overrides([*sweeper._parse_config(), *arguments])
    (expanded,) = sweeper.split_arguments(parsed, None)
    varying = {o.get_key_element() for o in parsed if o.is_sweep_override()}
    found: dict[str, Job] = {}
    runs_dir = "runs"
    costed = []
    with display.phase("checking the jobs", len(expanded), "jobs") as advance:
        for overrides in expanded:
            raw = loader.load_sweep_config(sweeper.config, list(overrides))
            name = " ".join(_shown(o) for o in overrides if o.partition("=")[0] in varying) or "the only one"
            with open_dict(raw):
                del raw["hydra"]
            try:
                config = validate(raw, TrainConfig)
                if config.fresh:
                    raise ConfigError("fresh: a sweep goes on where it stopped; to start over, set another runs_dir")
                key = identity(config)
            except ConfigError as error:
                raise ConfigError(f"{name}: {error}; no job was started") from error
            runs_dir = config.runs_dir
            if config.plan and key not in found:
                costed.append((name, config))
            found.setdefault(key, Job(key, name, tuple(overrides), run_directory(config, key).name))
            advance(1, 0)
    if len(found) < len(expanded):
        display.say(f"{len(expanded)} jobs come to {len(found)} different runs")
    return list(found.values()), runs_dir, costed


def _shown(override: str) -> str:
    """``strategy=early`` of ``cross.strategy=early``."""
    key, _, value = override.partition("=")
    return f"{key.rpartition('.')[2]}={value}"


def _digest(jobs: Sequence[Job]) -> str:
    return hashlib.sha256(" ".join(sorted(job.identity for job in jobs)).encode()).hexdigest()[:10]


def _launch(sweeper: BasicSweeper, manifest: Sweep, display: Display) -> None:
    """Launch what is not done, and again what was killed, lost or worked on elsewhere."""
    assert sweeper.launcher is not None
    OmegaConf.save(sweeper.config, manifest.path / "multirun.yaml")
    for number in range(_PASSES):
        left = [p for p in manifest.progress() if p.state not in FINAL] if number else _unfinished(manifest, display)
        if not left:
            return
        if number:
            display.say(f"again: {', '.join(f'{p.job.name} ({p.state})' for p in left)}")
        try:
            for result in sweeper.launcher.launch([list(p.job.overrides) for p in left], initial_job_idx=0):
                if isinstance(result._return_value, Exception):  # before it had an attempt to record it in
                    display.say(f"a job could not be begun: {' '.join(str(result._return_value).split())[:200]}")
        except SivgapError:
            raise
        except Exception as error:  # a launcher's own: a dead worker, a cluster that does not answer
            display.say(f"the launcher failed ({type(error).__name__}: {' '.join(str(error).split())[:160]})")


def _unfinished(manifest: Sweep, display: Display) -> list[Progress]:
    """All that is not complete; a job that failed before is tried again by a new command."""
    found = manifest.progress()
    left = [p for p in found if p.state != "complete"]
    display.say(f"sweep of {len(found)} jobs, {len(found) - len(left)} of them done before: {manifest.path}")
    return left


def _conclude(manifest: Sweep, display: Display) -> None:
    if "ray" in sys.modules:  # it would have its say after our last line
        sys.modules["ray"].shutdown()
    found = manifest.progress()
    count = Counter(p.state for p in found)
    for progress in found:
        if progress.state != "complete":
            display.say(f"{progress.job.name}: {progress.state} ({progress.reason or 'no reason known'})")
    if count["complete"]:
        from sivgap.report.sweep import report_sweep

        try:
            report_sweep(manifest.path, display)
        except SivgapError as error:  # the runs are what matters
            display.say(f"no report: {error}")
    print(manifest.path)
    if count["failed"]:
        raise RunError(
            f"{count['failed']} of {len(found)} jobs failed; the others are kept, the same command tries again"
        )
    if count["complete"] < len(found):
        left = len(found) - count["complete"]
        raise Stopped(f"{left} of {len(found)} jobs are not done; run the same command to go on")
