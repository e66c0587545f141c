"""The default run, killed with SIGKILL at random moments and restarted, beside one that never was.

    python benchmarks/kills.py [--kills 10] [--seed 0] [OVERRIDES ...]

Each attempt is killed at a random moment, a tenth or a fifth of the run's length later, until all kills are spent; the
next one goes on to the end. Both runs must agree in every number of trajectory.jsonl but the clock, and in every stored
sample. Writes benchmarks/results/kills.md and .json.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from study import RESULTS

from sivgap.report.tables import markdown

CLOCK = ("seconds_generate", "seconds_verify", "seconds_train")


def command(runs_dir: Path, overrides: list[str]) -> list[str]:
    own = [f"runs_dir={runs_dir}", "tracking.wandb.mode=disabled", *overrides]
    return [sys.executable, "-m", "sivgap.train", *own]


def lines(run: Path) -> list[dict]:
    read = [json.loads(line) for line in (run / "trajectory.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in CLOCK} for line in read]


def finish(runs_dir: Path, overrides: list[str]) -> Path:
    done = subprocess.run(command(runs_dir, overrides), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"the run ended with status {done.returncode}: {done.stderr[-2000:]}")
    return Path(done.stdout.splitlines()[-1])


def reached(runs_dir: Path) -> tuple[float | None, str]:
    """How far the trajectory on disk has come, and the newest checkpoint."""
    run = next(runs_dir.glob("*"), None)
    measured = lines(run) if run and (run / "trajectory.jsonl").exists() else []
    saved = sorted((run / "checkpoints").glob("epoch=*")) if run else []
    return (measured[-1]["epoch"] if measured else None), (saved[-1].name if saved else "none")


def equal(one: Path, other: Path) -> tuple[bool, bool]:
    """Whether trajectories, and all stored samples, are the same."""
    names = sorted(p.name for p in (one / "samples").iterdir())
    samples = names == sorted(p.name for p in (other / "samples").iterdir()) and all(
        pd.read_parquet(one / "samples" / n).equals(pd.read_parquet(other / "samples" / n)) for n in names
    )
    return lines(one) == lines(other), samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("overrides", nargs="*")
    a = parser.parse_args()
    moments = random.Random(a.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole_dir, killed_dir = Path(folder) / "whole", Path(folder) / "killed"
        started = time.monotonic()
        whole = finish(whole_dir, a.overrides)
        length = time.monotonic() - started
        rows = []
        while len(rows) < a.kills:
            # Loading takes the first few seconds; ten attempts of this length come to the end of the run together.
            wait = moments.uniform(0.06 * length, 0.22 * length)
            process = subprocess.Popen(
                command(killed_dir, a.overrides), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                process.wait(wait)
                break  # came to its end before the kill
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            measured, saved = reached(killed_dir)
            rows.append([str(len(rows) + 1), f"{wait:.1f}", "-" if measured is None else f"{measured:g}", saved])
        killed = finish(killed_dir, a.overrides)
        same_lines, same_samples = equal(whole, killed)
        files = len(list((whole / "samples").iterdir()))
    table = markdown(["kill", "seconds after its start", "measured so far (epoch)", "newest checkpoint"], rows)
    verdict = (
        f"{len(rows)} kills of {a.kills} (moments of seed {a.seed}; undisturbed run {length:.0f} s; overrides: "
        f"{' '.join(a.overrides) or 'none'}). Trajectory equal in every number: {same_lines}. "
        f"All {files} files of samples equal: {same_samples}."
    )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "kills.md").write_text(f"# Killed and restarted\n\n{verdict}\n\n{table}")
    result = {"kills": len(rows), "seconds": length, "trajectory": same_lines, "samples": same_samples}
    (RESULTS / "kills.json").write_text(json.dumps(result, indent=2) + "\n")
    print(verdict, table, sep="\n\n")
    sys.exit(not (same_lines and same_samples and len(rows) == a.kills))


if __name__ == "__main__":
    main()
