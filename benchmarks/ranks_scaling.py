"""How much faster two processes are than one, by phase, with the machine's threads divided fairly.

    python benchmarks/ranks_scaling.py [--repeats 3] [--folder runs/ranks_scaling] [OVERRIDES ...]

The same run in turns: one process with one thread, one with two, two with one each, two that shard. Efficiency is the
time of one thread over twice that of two. Where others use the machine, wall time tells of them; processor time, of all
processes together, tells what was computed twice. What is in the folder is gone on with; delete it to begin again.
Writes benchmarks/results/ranks_scaling.md and .json.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
from pathlib import Path

from kills import command
from rich.progress import track
from study import keep, kept, publish, seconds

from sivgap.report.tables import markdown

PHASES = ("generate", "verify", "train")
SMALL = [
    "experiment=smoke", "epochs=0.5", "dataset.train_size=512", "prompts_per_epoch=256", "n=8", "update.batch_size=16",
    "measure.train_prompts=64", "measure.test_prompts=32", "engine.batch_size=128",
]  # fmt: skip
KINDS = {
    "1 process, 1 thread": ["launch.processes=1", "engine.threads=1"],
    "1 process, 2 threads": ["launch.processes=1", "engine.threads=2"],
    "2 processes, 1 thread each": ["launch.processes=2", "engine.threads=1"],
    "2 processes, sharded": ["launch.processes=2", "engine.threads=1", "launch.shard=true"],
}
ONCE = "1 process, 2 threads"
"""Not repeated: where other work has the cores, two threads wait for each other, for minutes."""


def measure(folder: Path, overrides: list[str]) -> dict:
    """One run: seconds of each phase, of the whole, and processor seconds."""
    shutil.rmtree(folder, ignore_errors=True)
    before, loads = resource.getrusage(resource.RUSAGE_CHILDREN), os.getloadavg()[0]
    done = subprocess.run(
        command(folder, overrides), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = Path(done.stdout.splitlines()[-1])
    lines = [json.loads(line) for line in (run / "trajectory.jsonl").read_text().splitlines()]
    found = {phase: sum(line[f"seconds_{phase}"] for line in lines) for phase in PHASES}
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**found, "whole": seconds(run), "processor": cpu, "load_before": loads}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("runs/ranks_scaling"))
    parser.add_argument("overrides", nargs="*", default=SMALL)
    a = parser.parse_args()
    a.folder.mkdir(parents=True, exist_ok=True)
    record = a.folder / "runs.jsonl"
    done = kept(record)
    have = {(row["repeat"], row["kind"]) for row in done}
    due = [(repeat, kind) for repeat in range(a.repeats) for kind in KINDS if kind != ONCE or repeat == 0]
    for repeat, kind in track([one for one in due if one not in have], "runs"):
        row = {"repeat": repeat, "kind": kind, **measure(a.folder / "run", [*a.overrides, *KINDS[kind]])}
        done.append(row)
        keep(record, row)
    report(a, done)


def report(a: argparse.Namespace, done: list[dict]) -> None:
    best = {
        kind: {key: min(row[key] for row in done if row["kind"] == kind) for key in (*PHASES, "whole", "processor")}
        for kind in KINDS
    }
    one = best["1 process, 1 thread"]
    rows = [[kind, *(f"{found[key]:.1f}" for key in (*PHASES, "whole", "processor"))] for kind, found in best.items()]
    wide = [kind for kind in KINDS if kind != "1 process, 1 thread"]
    efficiency = {kind: {key: one[key] / (2 * best[kind][key]) for key in (*PHASES, "whole")} for kind in wide}
    shares = [[kind, *(f"{efficiency[kind][key]:.2f}" for key in (*PHASES, "whole"))] for kind in wide]
    load = statistics.median(row["load_before"] for row in done)
    text = (
        "# Two processes against one, by phase\n\n"
        f"The best of {a.repeats} in turns; overrides {' '.join(a.overrides)}; "
        f"{os.cpu_count()} cores, shared with other work: load average before a run {load:.1f} in the median. Seconds; "
        "processor seconds are of all processes, their start included.\n\n"
        + markdown(["", *PHASES, "whole", "processor"], rows)
        + "\n\nEfficiency: the time of one thread over twice the time.\n\n"
        + markdown(["", *PHASES, "whole"], shares)
    )
    publish("ranks_scaling", text, {"runs": done, "best": best, "efficiency": efficiency})


if __name__ == "__main__":
    main()
