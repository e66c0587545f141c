"""How long a user waits: for --help, for the first responses of the default run, and for what both begin with.

    python benchmarks/start_up.py [--repeats 3]

Each is a process of its own, in turns, its files in the system's cache (the first turn is not counted). The libraries
that any fine-tuning needs are loaded alone beside it. Writes benchmarks/results/start_up.md and .json.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

from rich.progress import track
from study import publish

from sivgap.report.tables import markdown
from sivgap.runtime.hardware import describe_hardware

FIRST_RESPONSES = """
import os, sys
from sivgap.engines.hf import HFEngine
rollout = HFEngine.rollout
def until_the_first(self, prompts, sampling, follow_up=None, on_batch=None):
    return rollout(self, prompts, sampling, follow_up, lambda done, tokens: os._exit(0))
HFEngine.rollout = until_the_first
from sivgap.train import main
main()
"""
"""The default run, up to the first batch of responses and their verdicts."""
WHAT = {
    "python -m sivgap.train --help": ["-m", "sivgap.train", "--help"],
    "import sivgap.train": ["-c", "import sivgap.train"],
    "import torch, transformers, peft, accelerate": [
        "-c", "import torch, accelerate; from transformers import LlamaForCausalLM; from peft import get_peft_model",
    ],
    "first responses of the default run": ["-c", FIRST_RESPONSES],
}  # fmt: skip


def seconds(arguments: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        runs = [f"runs_dir={folder}"] if FIRST_RESPONSES in arguments else []
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, *arguments, *runs], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    a = parser.parse_args()
    load, hardware = os.getloadavg()[0], describe_hardware()
    turns = [(turn, what) for turn in range(a.repeats + 1) for what in WHAT]
    took: dict[str, list[float]] = {what: [] for what in WHAT}
    for turn, what in track(turns, "start-up"):
        found = seconds(WHAT[what])
        if turn:
            took[what].append(found)
    table = markdown(["", "seconds"], [[what, f"{statistics.median(found):.1f}"] for what, found in took.items()])
    text = (
        f"# From start to first responses\n\nMedians of {a.repeats}, {hardware['cores']} cores, load average before "
        f"{load:.1f}; W&B offline, as by default.\n\n{table}"
    )
    publish("start_up", text, {"hardware": hardware, "seconds": took})


if __name__ == "__main__":
    main()
