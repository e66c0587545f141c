"""A thousand trivial jobs: what a sweep costs beyond its runs, by launcher.

    python benchmarks/sweep_jobs.py [--jobs 1000] [--launchers basic joblib]

Overhead is the wall time of the command, times the jobs at once, less the seconds that the runs themselves count (from
loading the model to the last picture), a job; memory is the largest proportional set size of all its processes
together. The same command again shows what it costs to find everything done. Writes
benchmarks/results/sweep_jobs.md and .json, where launchers measured before stay.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from rich.progress import track
from study import RESULTS

from sivgap.report.tables import markdown
from sivgap.runs.sweep_manifest import Sweep

TRIVIAL = (
    "experiment=smoke", "epochs=0.5", "n=1", "prompts_per_epoch=2", "dataset.train_size=4", "dataset.test_size=2",
    "measure.train_prompts=2", "measure.test_prompts=2", "sampling.max_new_tokens=4", "update.replay=0",
    "tracking.wandb.mode=disabled", "engine.threads=1",
)  # fmt: skip
LAUNCHERS = {
    "basic": ((), 1),
    "joblib": (("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"), 2),
    "submitit_slurm": (("hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1"), 2),
}


def family(root: int) -> list[int]:
    """`root` and all its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def memory(root: int) -> int:
    """Proportional set size of the family, MiB: what is shared is counted once."""
    total = 0
    for process in family(root):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total // 1024


def run(folder: str, jobs: int, settings: tuple[str, ...]) -> tuple[float, int, Path]:
    """Seconds, largest memory, and the sweep's directory."""
    command = [sys.executable, "-m", "sivgap.train", "-m", *TRIVIAL, f"seed=range({jobs})", *settings]
    started, most = time.perf_counter(), 0
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(3):
            most = max(most, memory(process.pid))

    thread = threading.Thread(target=watch)
    thread.start()
    out, _ = process.communicate()
    done.set()
    thread.join()
    assert process.returncode == 0, command
    return time.perf_counter() - started, most, Path(folder) / out.splitlines()[-1]


def measure(launcher: str, jobs: int) -> dict[str, float]:
    settings, at_once = LAUNCHERS[launcher]
    with tempfile.TemporaryDirectory() as folder:
        seconds, most, path = run(folder, jobs, settings)
        sweep = Sweep(path)
        started = time.perf_counter()
        found = sweep.progress()
        first = time.perf_counter() - started
        assert all(p.state == "complete" for p in found)
        started = time.perf_counter()
        sweep.progress()
        later = time.perf_counter() - started
        own = [json.loads((sweep.run_path(p.job) / "status.json").read_text())["seconds"] for p in found]
        again, _, _ = run(folder, jobs, settings)
    return {
        "jobs": jobs,
        "minutes": seconds / 60,
        "own seconds a job": sum(own) / jobs,
        "overhead a job (s)": (seconds * at_once - sum(own)) / jobs,
        "memory (MiB)": most,
        "manifest, first reading (s)": first,
        "manifest, later (s)": later,
        "the same command again (s)": again,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--launchers", nargs="+", choices=list(LAUNCHERS), default=["basic", "joblib"])
    a = parser.parse_args()
    kept = RESULTS / "sweep_jobs.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    found |= {name: measure(name, a.jobs) for name in track(a.launchers, "launchers")}
    rows = [[what, *(f"{found[name][what]:.3g}" for name in found)] for what in next(iter(found.values()))]
    table = markdown(["", *found], rows)
    RESULTS.mkdir(exist_ok=True)
    kept.write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "sweep_jobs.md").write_text(f"# Trivial jobs, by launcher\n\n{table}")
    print(table)


if __name__ == "__main__":
    main()
