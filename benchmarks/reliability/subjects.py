"""What the disk changes in `flips`: a folder of everything that sivgap keeps, and all that reads it.

runs/ID          a run that is complete, and fitted        stopped/ID   the same, stopped between two batches
runs/evaluate-*  an evaluation                             runs/store/  its responses and verdicts
fits/curves      a fit and an allocation                   swept/       a sweep of two seeds with its runs
given/           external responses of a run               cache/       paid answers of an endpoint
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from forked import forked
from hydra import compose, initialize_config_dir
from stop_at import StopAt

from sivgap.config.allocation import read_schedule
from sivgap.config.app import validate
from sivgap.config.locate import conf_dir
from sivgap.config.schema import TrainConfig
from sivgap.cross.api_cache import Answer, ApiCache
from sivgap.cross.collect import collect
from sivgap.cross.external import Response
from sivgap.errors import RunError, Stopped
from sivgap.evaluate import _damage
from sivgap.loop.experiment import Experiment
from sivgap.parallel.group import ALONE
from sivgap.report.evaluation_record import read_evaluation
from sivgap.report.record import read_record
from sivgap.report.sweep_record import read_sweep
from sivgap.runs.checkpoint import Progress
from sivgap.runs.load_curves import from_run, prompt_curves
from sivgap.runs.run import Run
from sivgap.runs.trajectory import Trajectory, final_accuracy
from sivgap.runtime.files import write_text
from sivgap.runtime.read import read_json, read_parquet, read_yaml
from sivgap.store.parts import Parts

CLOCK = ("seconds_generate", "seconds_verify", "seconds_train", "seconds")
RUN = ("experiment=smoke", "epochs=2", "update.batch_size=4", "tracking.wandb.mode=disabled", "engine.threads=1")
EVALUATION = ("dataset.test_size=16", "n=4", "engine.threads=1")
SWEEP = ("-m", *RUN, "epochs=0.5", "seed=0,1", "runs_dir=swept")
ALLOCATION = ("fit=fits/curves/fit.json", "budget=0.3", "horizon=6", "gamma=1.5")
FIRST_MOMENT = 9
"""Batches, of sampling, verifying or training, before the earliest of which the stopped run is stopped."""
KEYS = [f"key{i}" for i in range(40)]


def settings(folder: Path, *overrides: str) -> TrainConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return validate(compose("train", [*RUN, f"runs_dir={folder}", *overrides]), TrainConfig)


def command(folder: Path, name: str, *arguments: str) -> tuple[int, str]:
    """Status and words of a whole command."""
    log = folder / "said.log"
    log.unlink(missing_ok=True)
    process = forked(folder, log, name, *arguments)
    process.join(300)
    process.kill()  # nothing unless it hangs
    process.join()
    return int(process.exitcode or 0), log.read_text(errors="replace")


def make(folder: Path) -> None:
    """Fill `folder`."""

    def must(name: str, *arguments: str) -> None:
        status, said = command(folder, name, *arguments)
        assert status == 0, said[-2000:]

    folder.mkdir(parents=True)
    rows = [f"{t / 2},{1 + 2 * 0.7**t:.6f},{0.8 + 0.9 * 0.7**t:.6f}" for t in range(12)]
    (folder / "curves.csv").write_text("\n".join(["epoch,solver_uncertainty,verifier_uncertainty", *rows]) + "\n")
    must("fit", "csv=curves.csv", "bootstrap=0")
    must("allocate", *ALLOCATION)
    must("train", *RUN)
    (run,) = (folder / "runs").glob("tiny-*")
    must("fit", f"runs={run.relative_to(folder)}", "bootstrap=0")
    must("evaluate", *EVALUATION)
    must("train", *SWEEP)
    moment = FIRST_MOMENT
    while not list(folder.glob("stopped/tiny-*/checkpoints/*-step=*")):  # between two batches of training
        shutil.rmtree(folder / "stopped", ignore_errors=True)
        _stop(settings(folder / "stopped"), moment)
        moment += 1
    (folder / "given").mkdir()
    lines = [json.dumps({"problem_id": f"p{i}", "text": f"1 + {i} = {i + 1}", "finished": True}) for i in range(64)]
    write_text(folder / "given" / "external.jsonl", "".join(line + "\n" for line in lines), folder / "given")
    with ApiCache(str(folder / "cache"), print) as cache:
        for number, key in enumerate(KEYS):
            cache.put(key, Answer(f"The answer is {number}.", True, 20 + number, 7))


def _stop(config: TrainConfig, moment: int) -> None:
    from sivgap.loop.session import open_experiment
    from sivgap.runtime.display import Display
    from sivgap.train import improve

    run = Run(config)
    try:
        with open_experiment(run, Display(), StopAt(moment)) as job:
            improve(job)
    except Stopped as stopped:
        run.mark_end("stopped", str(stopped))
    finally:
        run.close()


def plain(value: object) -> str:
    """A value as text, equal where every number in it is."""
    if hasattr(value, "to_json"):
        return str(value.to_json())
    if isinstance(value, dict):
        return repr({key: plain(inner) for key, inner in value.items()})
    return repr(value.tolist() if isinstance(value, np.ndarray) else value)


def measured(run: Path) -> str:
    """Every number of a run but the clock's; of samples those that can be read."""
    lines = [{k: v for k, v in line.items() if k not in CLOCK} for line in Trajectory(run / "trajectory.jsonl").read()]
    return plain(lines)


def gone_on_with(config: TrainConfig) -> str:
    """What ``sivgap.train`` stands on when its command is typed again, by its own functions; nothing is computed."""
    run, got = Run(config), {}
    try:
        if run.state == "complete" and not run.lost:
            return f"complete {final_accuracy(run.path)} {run.trajectory.read()}"

        def restore(*parts: dict) -> None:
            tensors = [(name, part[name].numpy().tobytes()) for part in parts for name in sorted(part)]
            got["tensors"] = hashlib.sha256(repr(tensors).encode()).hexdigest()

        state = SimpleNamespace(
            run=run, group=ALONE, progress=Progress(), epoch=0.0, _measure=lambda standing: None, _labels=[], _queue=[],
            _checkpoint=lambda: None, _plan=lambda: None,
            display=SimpleNamespace(say=lambda sentence: None), tracker=SimpleNamespace(log=lambda lines: None),
            components=SimpleNamespace(learner=SimpleNamespace(restore=restore)),
        )  # fmt: skip
        Experiment.resume(state)  # type: ignore[arg-type]
        return repr((asdict(state.progress), state._labels, state._queue, got, run.trajectory.read()))
    finally:
        run.close()


def record(run: Path) -> str:
    found = read_record(run)
    return plain({"lines": found.lines, "status": found.status, "config": found.config, "samples": found.samples})


def samples(run: Path) -> str:
    paths = sorted((run / "samples").glob("*.parquet"))
    return plain({path.name: read_parquet(path, run) for path in paths})


def curves(run: Path) -> str:
    found = prompt_curves(run, [0.0, 0.5, 1.0], "test", "first")
    fitted = from_run(run, "test", "response", "first")
    return plain([plain(vars(fitted)), None if found is None else [plain(part) for part in vars(found).values()]])


def evaluated(folder: Path) -> str:
    """What the command says is complete, and a report reads."""
    damage = _damage(folder)
    if damage is not None:
        raise RunError(damage)
    return plain(read_json(folder / "evaluation.json", folder)) + plain(vars(read_evaluation(folder)))


def stored(folder: Path, key: list[str]) -> str:
    parts = Parts(folder, {})
    return plain(parts.read(list(parts._holding), key).sort_values(["prompt", *key]))


def swept(folder: Path) -> str:
    found = read_sweep(folder)
    jobs = [(p.job, p.state, p.attempts, p.reason) for p in found.progress]
    return plain([repr(jobs), [plain(r.lines) for r in found.records]])


def paid(folder: Path) -> str:
    """Answers that are lost are asked for again: that is no other answer."""
    with ApiCache(str(folder), lambda sentence: None) as cache:
        found = [cache.get(key) for key in KEYS]
    if None in found:
        right = [Answer(f"The answer is {i}.", True, 20 + i, 7) for i in range(len(KEYS))]
        assert all(a is None or a == b for a, b in zip(found, right, strict=True)), "another answer"
        raise RunError("asked for again")
    return plain(found)


@dataclass(frozen=True)
class Subject:
    """A folder, what reads it in this process, and a whole command with what is to be the same after it."""

    folder: Path
    read: dict[str, Callable[[], str]]
    command: tuple[str, ...]
    result: Callable[[], str]


def subjects(top: Path) -> dict[str, Subject]:
    """Everything under `top`, which `make` has filled."""
    (run,) = (top / "runs").glob("tiny-*")
    (stopped,) = (top / "stopped").glob("tiny-*")
    made = min((top / "runs").glob("evaluate-*"), key=lambda path: len(path.name))
    (store,) = (top / "runs" / "store").iterdir()
    (verdicts,) = (p for p in store.iterdir() if p.is_dir())
    (sweep,) = (top / "swept").glob("sweep-*")
    fit, given = top / "fits" / "curves", top / "given"
    complete, other = settings(top / "runs"), settings(top / "stopped")
    asked = [SimpleNamespace(id=f"p{i}") for i in range(64)]

    def latest() -> str:
        newest = max((top / "runs").glob("evaluate-*"), key=lambda path: len(path.name))
        return plain({k: v for k, v in read_json(newest / "evaluation.json").items() if k not in CLOCK})

    def external() -> str:
        found = collect(complete, None, asked, given / "external.jsonl", None)  # type: ignore[arg-type]
        assert all(isinstance(response, Response) for response in found.values())
        return plain(found)

    return {
        "run": Subject(
            run,
            {"record": lambda: record(run), "samples": lambda: samples(run), "curves": lambda: curves(run),
             "fit": lambda: plain(read_json(run / "fit.json", run)), "train": lambda: gone_on_with(complete),
             "upload": lambda: plain([read_yaml(run / name, run) for name in ("status.json", "config.yaml")])},
            ("train", *RUN), lambda: measured(run),
        ),
        "stopped run": Subject(
            stopped, {"train": lambda: gone_on_with(other)}, ("train", *RUN, "runs_dir=stopped"),
            lambda: measured(stopped),
        ),
        "evaluation": Subject(made, {"evaluation": lambda: evaluated(made)}, ("evaluate", *EVALUATION), latest),
        "store": Subject(
            store,
            {"responses": lambda: stored(store, ["sample"]),
             "verdicts": lambda: stored(verdicts, ["first", "second", "repetition"])},
            ("evaluate", *EVALUATION, "fresh=true"), latest,
        ),
        "fit": Subject(
            fit,
            {"fit": lambda: plain(read_json(fit / "fit.json", fit)),
             "allocation": lambda: plain(read_schedule(fit / "allocation.json"))},
            ("allocate", *ALLOCATION), lambda: plain(read_schedule(fit / "allocation.json")),
        ),
        "sweep": Subject(
            sweep, {"sweep": lambda: swept(sweep)}, ("train", *SWEEP),
            lambda: plain([measured(path) for path in sorted((top / "swept").glob("tiny-*"))]),
        ),
        "external responses": Subject(given, {"train": external}, (), str),
        "paid answers": Subject(top / "cache", {"train": lambda: paid(top / "cache")}, (), str),
    }  # fmt: skip
