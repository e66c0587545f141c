"""A run on two processes one of which is killed with SIGKILL at random moments, beside one that never was disturbed.

    python benchmarks/ranks_killed.py [--kills 10] [--seed 0] [--folder runs/ranks_killed] [OVERRIDES ...]

At a random moment of each attempt one rank, the first or the second, is killed: the command must end by itself within a
minute, with one sentence, and the next attempt goes on. Both runs must agree in every number of trajectory.jsonl but
the clock, and in every stored sample. What is in the folder is gone on with; delete it to begin again.
Writes benchmarks/results/ranks_killed.md and .json.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from kills import command, equal, finish, reached
from rich.progress import Progress
from study import RESULTS, keep, kept, seconds

from sivgap.report.tables import markdown

SHORT = ["experiment=smoke", "epochs=6", "engine.threads=1", "launch.processes=2"]
LONGEST = 60.0
"""Seconds within which a command must have ended whose rank was killed."""


def ranks_of(process: int) -> list[int]:
    """The ranks that a command has started so far."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [int(pid) for pid in children if b"sivgap.parallel" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def kill_one(runs_dir: Path, overrides: list[str], wait: float, which: int) -> dict | None:
    """One attempt, `wait` seconds after whose ranks have started rank `which` is killed; None if it ended before."""
    process = subprocess.Popen(
        command(runs_dir, overrides), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while len(ranks := ranks_of(process.pid)) < 2:
        if process.poll() is not None:
            return None
        time.sleep(0.02)
    time.sleep(wait)
    if process.poll() is not None:
        return None
    os.kill(ranks[which], signal.SIGKILL)
    killed = time.monotonic()
    said = process.communicate(timeout=LONGEST)[1]
    measured, saved = reached(runs_dir)
    return {
        "rank": which, "wait": wait, "ended_in": time.monotonic() - killed, "status": process.returncode,
        "said": said.splitlines()[-1], "traceback": "Traceback" in said, "measured": measured, "saved": saved,
        "left": [rank for rank in ranks if Path(f"/proc/{rank}").exists()],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--folder", type=Path, default=Path("runs/ranks_killed"))
    parser.add_argument("overrides", nargs="*", default=SHORT)
    a = parser.parse_args()
    a.folder.mkdir(parents=True, exist_ok=True)
    record = a.folder / "kills.jsonl"
    done = kept(record)
    moments = random.Random(a.seed + len(done))
    with Progress() as bar:
        task = bar.add_task("kills", total=a.kills, completed=len(done))
        whole = finish(a.folder / "whole", a.overrides)
        length = seconds(whole)
        while len(done) < a.kills:
            # Half of a rank's first seconds are imports; ten attempts come to the end of the run together.
            row = kill_one(a.folder / "killed", a.overrides, moments.uniform(0.15, 0.35) * length, moments.randrange(2))
            if row is None:
                break
            done.append(row)
            keep(record, row)
            bar.advance(task)
        killed = finish(a.folder / "killed", a.overrides)
    report(a, done, length, *equal(whole, killed))


def report(a: argparse.Namespace, done: list[dict], length: float, trajectory: bool, samples: bool) -> None:
    clean = all(r["status"] == 1 and not r["traceback"] and not r["left"] and "a rank died" in r["said"] for r in done)
    rows = [
        [
            str(i + 1), str(r["rank"] + 1), f"{r['wait']:.1f}", f"{r['ended_in']:.1f}",
            "-" if r["measured"] is None else f"{r['measured']:g}", r["saved"],
        ]
        for i, r in enumerate(done)
    ]  # fmt: skip
    head = ["kill", "process", "seconds after its start", "all had ended after, s", "measured so far (epoch)", "newest"]
    table = markdown(head, rows)
    slowest = max((r["ended_in"] for r in done), default=0.0)
    verdict = (
        f"{len(done)} kills of {a.kills} (moments of seed {a.seed}; undisturbed run {length:.0f} s; overrides: "
        f"{' '.join(a.overrides)}). The command ended by itself after {slowest:.1f} s at most, each time with status 1 "
        f"and one sentence, and no process left: {clean}. Trajectory equal in every number: {trajectory}. All files of "
        f"samples equal: {samples}."
    )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "ranks_killed.md").write_text(
        f"# One of two processes killed, and the run gone on with\n\n{verdict}\n\n{table}"
    )
    result = {"kills": done, "seconds": length, "clean": clean, "trajectory": trajectory, "samples": samples}
    (RESULTS / "ranks_killed.json").write_text(json.dumps(result, indent=2) + "\n")
    print(verdict, table, sep="\n\n")
    sys.exit(not (clean and trajectory and samples and len(done) == a.kills and slowest < LONGEST))


if __name__ == "__main__":
    main()
