"""What it saves to grade and write while the next responses are sampled, beside waiting for it.

    python benchmarks/overlap.py [--prompts 192] [--repeats 3]

The embedded model's run of one epoch, three measurements of both panels, with the two ways by turns in one process,
one thread for the model. Once its answers are compared as numbers (``dataset=arithmetic``), once the same problems are
given as competition problems (``dataset=math``), whose answers math-verify compares in processes of their own.
Writes benchmarks/results/overlap.md and .json.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import torch
from hydra import compose, initialize_config_dir
from kills import lines
from rich.progress import track
from study import publish

from sivgap.config.app import validate
from sivgap.config.embedded import WEIGHTS
from sivgap.config.locate import conf_dir
from sivgap.config.schema import TrainConfig
from sivgap.loop.session import open_experiment
from sivgap.report.tables import markdown
from sivgap.runs.run import Run
from sivgap.runtime.background import Background
from sivgap.runtime.display import Display
from sivgap.runtime.hardware import describe_hardware
from sivgap.runtime.signals import StopRequest
from sivgap.tasks import arithmetic
from sivgap.train import improve

WAYS = ("beside sampling", "waited for")


class Clock(Background):
    """Counts the seconds of the work itself, and waits for each if asked to."""

    waits, seconds = False, 0.0

    def later(self, work, *args, **kwargs):
        def timed(*args, **kwargs):
            started = time.perf_counter()
            try:
                return work(*args, **kwargs)
            finally:
                Clock.seconds += time.perf_counter() - started

        future = super().later(timed, *args, **kwargs)
        if Clock.waits:
            future.exception()
        return future


def competition_problems(path: Path, count: int) -> None:
    """Arithmetic written as MATH's records are."""
    with path.open("w") as file:
        for problem in arithmetic.generate(count, "train", 0):
            solution = f"{problem.solution} So it is $\\boxed{{{problem.reference}}}$."
            file.write(json.dumps({"problem": problem.question, "solution": solution}) + "\n")


def run(folder: Path, prompts: int, *overrides: str) -> tuple[float, float, list[dict]]:
    """Seconds of Algorithm 1, of them those of grading and writing, and what was measured."""
    given = [
        "model=tiny", "epochs=1", f"prompts_per_epoch={prompts}", f"measure.train_prompts={prompts}",
        f"measure.test_prompts={prompts}", "engine.threads=1", "tracking.wandb.mode=disabled", "fresh=true",
        f"runs_dir={folder}", *overrides,
    ]  # fmt: skip
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = validate(compose("train", given), TrainConfig)
    opened = Run(config)
    Clock.seconds = 0.0
    with open_experiment(opened, Display(quiet=True), StopRequest()) as job:
        started = time.perf_counter()
        improve(job)
        job.settle()
        whole = time.perf_counter() - started
    opened.close()
    return whole, Clock.seconds, lines(opened.path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=192)
    parser.add_argument("--repeats", type=int, default=3)
    a = parser.parse_args()
    load, hardware = os.getloadavg()[0], describe_hardware()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name, patch("sivgap.loop.recorder.Background", Clock):
        folder = Path(name)
        competition_problems(folder / "problems.jsonl", 4 * a.prompts)
        tasks = {
            "arithmetic": ("dataset=arithmetic",),
            "math": ("dataset=math", f"dataset.path={folder}/problems.jsonl", "dataset.test_share=0.4",
                     f"model.path={WEIGHTS}", "update.replay=0", "dataset.train_size=null", "dataset.test_size=null"),
        }  # fmt: skip
        took = {task: {way: [] for way in WAYS} for task in tasks}
        turns = [(turn, task, way) for turn in range(a.repeats + 1) for task in tasks for way in WAYS]
        numbers: dict[str, list[dict]] = {}
        for turn, task, way in track(turns, "overlap"):
            Clock.waits = way == "waited for"
            whole, work, found = run(folder / "runs", a.prompts, *tasks[task])
            assert numbers.setdefault(task, found) == found, "the two ways have measured different numbers"
            if turn:  # the first one opens caches
                took[task][way].append({"whole": whole, "grading and writing": work})
    median = {
        task: {way: {what: statistics.median(each[what] for each in found) for what in found[0]}
               for way, found in ways.items()} for task, ways in took.items()
    }  # fmt: skip
    rows = [
        [task, f"{ways['waited for']['grading and writing']:.1f}", f"{ways['waited for']['whole']:.1f}",
         f"{ways['beside sampling']['whole']:.1f}",
         f"{ways['waited for']['whole'] / ways['beside sampling']['whole']:.2f}"]
        for task, ways in median.items()
    ]  # fmt: skip
    header = ["answers compared as", "grading and writing alone, s", "waited for, s", "beside sampling, s", "ratio"]
    text = (
        f"# Grading and writing beside sampling\n\nOne epoch of the embedded model, {a.prompts} prompts x 8 responses, "
        f"three measurements of both panels; medians of {a.repeats}, by turns, {hardware['cores']} cores, "
        f"one thread for the model, load average {load:.1f} before. Both ways measure the same numbers.\n\n"
        f"{markdown(header, rows)}"
    )
    publish("overlap", text, {"hardware": hardware, "seconds": took})


if __name__ == "__main__":
    main()
