"""Runs that are killed at random moments and started again end with the numbers of runs that never were.

    python benchmarks/reliability/kills.py [--kills 200] [--minutes 60] [--work FOLDER] [--kinds kill,term,memory,power]

Commands: train, evaluate, sweep, fit, each forked from this process, which has the imports done (`forked`): so ends
fall in the work, not in the start of Python. Kinds of end, at a moment drawn uniformly from the processor time of the
whole command, which no other load on the machine moves:

    kill    SIGKILL to all its processes
    term    SIGTERM to the command; it may end by itself
    memory  its address space is limited to what it has and 4 MiB more (RLIMIT_AS), so that its next allocation fails
    power   as kill, on a disk image (ext4 over a loop device) of which a copy is taken that moment: what was written
            but not synced is not in the copy, and the run goes on from the copy. Needs root; skipped without

A chain is one run, ended up to four times and then left to finish; then it is held against an undisturbed one: every
number but the clock, every stored sample. Deep is an end after which there is something to go on from (of a fit: in its
second half). Resumable: finished chains are in the JSON file. Writes benchmarks/results/reliability/kills.md and .json;
ends with status 1 if anything was lost.
"""

import argparse
import itertools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pandas as pd
from disk import Disk
from forked import forked, ready
from rich.progress import Progress

from sivgap.report.tables import markdown

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "reliability"
MOST = 4
"""Ends of one chain."""
SHARES = {"train": 0.3, "evaluate": 0.3, "sweep": 0.15, "fit": 0.25}
"""Of all ends; a sweep takes longest, since it starts a server of processes that imports all by itself."""
LOOK = 0.01
"""Seconds between two looks at what a command has spent."""
PATIENCE = 600.0
"""Seconds after which a command hangs."""
CLOCK = ("seconds_generate", "seconds_verify", "seconds_train", "seconds")
SMALL = ["experiment=smoke", "tracking.wandb.mode=disabled", "engine.threads=1"]
PANEL = ["dataset.test_size=48", "n=8", "engine.threads=1", "engine.batch_size=32", "runs_dir=runs"]
COMMANDS = {
    "train": ["train", *SMALL],
    "evaluate": ["evaluate", *PANEL],
    "sweep": ["train", "-m", *SMALL, "epochs=0.5", "seed=0,1"],
    "fit": ["fit", "csv=curves.csv", "bootstrap=400"],
}
ALLOWED = {"kill": (-9,), "power": (-9,), "term": (75, -15), "memory": (1, -6, -9, -11, 134, 139)}


def prepare(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{t / 2},{1 + 2 * 0.7**t:.6f},{0.8 + 0.9 * 0.7**t:.6f}" for t in range(12)]
    (folder / "curves.csv").write_text("\n".join(["epoch,solver_uncertainty,verifier_uncertainty", *rows]) + "\n")


def start(name: str, folder: Path) -> BaseProcess:
    return forked(folder, folder / "said.log", *COMMANDS[name])


def work(process: int, seen: dict[int, int]) -> float:
    """Processor seconds that it and its children have spent; `seen` keeps those of children that are gone."""
    with suppress(OSError):
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        seen[process] = int(fields[11]) + int(fields[12])
        for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
            work(int(child), seen)
    return sum(seen.values()) / os.sysconf("SC_CLK_TCK")


def follow(process: BaseProcess, until: float) -> float:
    """Wait until it has spent `until` processor seconds, or has ended; what it has spent."""
    seen: dict[int, int] = {}
    started, spent = time.monotonic(), 0.0
    assert process.pid is not None
    while process.exitcode is None and spent < until and time.monotonic() - started < PATIENCE:
        process.join(LOOK)
        spent = work(process.pid, seen)
    return spent


def finish(name: str, folder: Path) -> tuple[int, float]:
    """Its status, and the processor seconds it took."""
    process = start(name, folder)
    spent = follow(process, float("inf"))
    end_all(process)
    return int(process.exitcode or 0), spent


def end_all(process: BaseProcess) -> None:
    assert process.pid is not None
    process.kill()  # before it has a session of its own, too
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()


def deep(name: str, folder: Path, share: float) -> bool:
    """Whether there is something to go on from."""
    if name == "fit":
        return share > 0.5
    pattern = "part-*.parquet" if name == "evaluate" else "trajectory.jsonl"
    return any(folder.rglob(pattern))


def numbers(folder: Path) -> dict:
    """Everything that was measured under a folder, without the clock."""
    found: dict = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.name == "trajectory.jsonl" and "checkpoints" not in path.parts:
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = [{k: v for k, v in line.items() if k not in CLOCK} for line in lines]
        elif path.name in ("fit.json", "evaluation.json"):
            found[name] = {k: v for k, v in json.loads(path.read_text()).items() if k not in CLOCK}
        elif path.suffix == ".parquet" and "store" not in path.parts:
            found[name] = pd.read_parquet(path).to_json()
    return found


def left_behind(folder: Path) -> list[str]:
    """Files that writers left aside; there should be none once a run is complete."""
    return [str(p.relative_to(folder)) for p in folder.rglob(".*.tmp") if "wandb" not in p.parts]


def end(kind: str, process: BaseProcess) -> int:
    """End it; its status."""
    assert process.pid is not None
    if kind == "term":
        process.terminate()
    elif kind == "memory":
        with suppress(OSError):  # it has just ended by itself
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + 4 * 2**20
            resource.prlimit(process.pid, resource.RLIMIT_AS, (limit, limit))
    if kind in ("term", "memory"):
        process.join(120)
        hangs = process.exitcode is None
        end_all(process)
        return -99 if hangs else int(process.exitcode or 0)  # neither went on nor ended
    end_all(process)
    return int(process.exitcode or 0)


def chain(name: str, kind: str, random_: random.Random, work_: Path, whole: dict, length: float) -> dict:
    """One run, ended again and again; what became of it."""
    disk = Disk(work_) if kind == "power" else None
    folder = disk.mounted / "here" if disk else Path(tempfile.mkdtemp(prefix="chain-", dir=work_))
    prepare(folder)
    if disk:
        subprocess.run(["sync", "-f", str(folder)], check=True)
    ends: list[list] = []
    try:
        for _ in range(MOST):
            process = start(name, folder)
            share = follow(process, random_.uniform(0.02, 0.98) * length) / length
            if process.exitcode is not None:
                end_all(process)
                break
            status = end(kind, process)
            if status == 0:  # it came to its own end first
                break
            ends.append([round(share, 3), status, deep(name, folder, share)])
            if disk is not None:
                disk.cut()
        status, _ = finish(name, folder)
        said = (folder / "said.log").read_text(errors="replace") if (folder / "said.log").exists() else ""
        found = numbers(folder)
        odd = [s for _, s, _ in ends if s not in ALLOWED[kind]]
        return {"ends": ends, "same": found == whole, "status": status, "odd": odd, "left": left_behind(folder),
                "traceback": "Traceback" in said, "said": said[-1500:] if found != whole or odd else ""}  # fmt: skip
    finally:
        if disk:
            disk.close()
        else:
            shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no chain later than this")
    parser.add_argument("--kinds", default="kill,term,memory,power")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "sivgap-kills")
    a = parser.parse_args()
    started = time.monotonic()
    RESULTS.mkdir(parents=True, exist_ok=True)
    a.work.mkdir(parents=True, exist_ok=True)
    kinds = [k for k in a.kinds.split(",") if k != "power" or os.geteuid() == 0]
    file = RESULTS / "kills.json"
    done: dict[str, dict] = json.loads(file.read_text()) if file.exists() else {}
    ready()
    whole, lengths = {}, {}
    for name in COMMANDS:
        folder = Path(tempfile.mkdtemp(prefix=f"whole-{name}-", dir=a.work))
        prepare(folder)
        status, lengths[name] = finish(name, folder)
        assert status == 0, (folder / "said.log").read_text()[-2000:]
        whole[name] = numbers(folder)
        shutil.rmtree(folder)
        print(f"undisturbed {name}: {lengths[name]:.1f} processor seconds", flush=True)
    with Progress() as bar:
        task = bar.add_task("killing", total=a.kills)
        while (key := following(done, kinds, a.kills)) and time.monotonic() - started < a.minutes * 60:
            name, kind, _ = key.split(" ")
            done[key] = chain(name, kind, random.Random(key), a.work, whole[name], lengths[name])
            file.write_text(json.dumps(done) + "\n")
            bar.update(task, completed=sum(len(c["ends"]) for c in done.values()))
    report(done, lengths)


def following(done: dict[str, dict], kinds: list[str], kills: int) -> str | None:
    """The run to begin next: of the command, and the kind of end, that lack most; None if none does."""
    made: Counter = Counter()
    for key, found in done.items():
        name, kind, _ = key.split(" ")
        made[name] += len(found["ends"])
        made[name, kind] += len(found["ends"])
    name = min(SHARES, key=lambda name: made[name] / SHARES[name])
    if made[name] >= SHARES[name] * kills:
        return None
    kind = min(kinds, key=lambda kind: made[name, kind])
    return next(key for number in itertools.count() if (key := f"{name} {kind} {number}") not in done)


def report(done: dict[str, dict], lengths: dict[str, float]) -> None:
    rows = []
    for name in COMMANDS:
        for kind in ALLOWED:
            chains = [c for key, c in done.items() if key.startswith(f"{name} {kind} ")]
            if chains:
                ends = Counter(status for c in chains for _, status, _ in c["ends"])
                below = sum(deep_ for c in chains for _, _, deep_ in c["ends"])
                statuses = ", ".join(f"{s} ({n})" for s, n in sorted(ends.items()))
                counts = (sum(ends.values()), below, len(chains), sum(c["same"] for c in chains))
                rows.append([name, kind, *map(str, counts), statuses, str(sum(c["traceback"] for c in chains))])
    kills = sum(len(c["ends"]) for c in done.values())
    lost = [key for key, c in done.items() if not c["same"] or c["odd"] or c["status"] or c["left"]]
    shares = sorted(share for c in done.values() for share, _, _ in c["ends"])
    below = sum(deep_ for c in done.values() for _, _, deep_ in c["ends"])
    quarters = [sum(q / 4 <= min(share, 0.99) < (q + 1) / 4 for share in shares) for q in range(4)]
    head = ["command", "end", "ends", "deep in the run", "runs", "the undisturbed numbers", "exit status", "tracebacks"]
    took = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in lengths.items())
    verdict = (
        f"{kills} ends in {len(done)} runs; {len(lost)} lost, corrupt or with files left over. {below} of the ends "
        f"({below / kills:.0%}) fell deep in a run; by quarters of the processor time of the whole command: "
        f"{', '.join(map(str, quarters))}. Undisturbed, in processor time without imports: {took}."
    )
    (RESULTS / "kills.md").write_text(f"# Ended and started again\n\n{verdict}\n\n{markdown(head, rows)}")
    print(verdict, markdown(head, rows), *lost, sep="\n\n")
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
