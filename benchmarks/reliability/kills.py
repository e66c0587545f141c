"""Runs that are killed at random moments and started again end with the numbers of runs that never were.

    python benchmarks/reliability/kills.py [--kills 200] [--minutes 60] [--work FOLDER] [--kinds kill,term,memory,power]

Commands: train, evaluate, sweep, fit. Kinds of end, at a moment drawn uniformly from the command's length:

    kill    SIGKILL to all its processes
    term    SIGTERM to the command; it may end by itself
    memory  its address space is limited to what it has and 4 MiB more (RLIMIT_AS), so that its next allocation fails
    power   as kill, on a disk image (ext4 over a loop device) of which a copy is taken that moment: what was written
            but not synced is not in the copy, and the run goes on from the copy. Needs root; skipped without

A chain is one run, ended up to four times and then left to finish; then it is held against an undisturbed one: every
number but the clock, every stored sample. Resumable: finished chains are in the JSON file. Writes
benchmarks/results/reliability/kills.md and .json; ends with status 1 if anything was lost.
"""

import argparse
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
from pathlib import Path

import pandas as pd

from sivgap.report.tables import markdown

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "reliability"
MOST = 4
"""Ends of one chain."""
CLOCK = ("seconds_generate", "seconds_verify", "seconds_train", "seconds")
SMALL = ["experiment=smoke", "tracking.wandb.mode=disabled", "engine.threads=1"]
PANEL = ["dataset.test_size=48", "n=8", "engine.threads=1", "engine.batch_size=32", "runs_dir=runs"]
COMMANDS = {
    "train": ["train", *SMALL],
    "evaluate": ["evaluate", *PANEL],
    "sweep": ["train", "-m", *SMALL, "epochs=0.5", "seed=0,1"],
    "fit": ["fit", "csv=curves.csv", "bootstrap=400"],
}
ALLOWED = {"kill": (-9,), "power": (-9,), "term": (75, -15, 0), "memory": (1, 0, -6, -9, -11, 134, 139)}
IMAGE_MIB = 64


def prepare(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{t / 2},{1 + 2 * 0.7**t:.6f},{0.8 + 0.9 * 0.7**t:.6f}" for t in range(12)]
    (folder / "curves.csv").write_text("\n".join(["epoch,solver_uncertainty,verifier_uncertainty", *rows]) + "\n")


def start(name: str, folder: Path) -> subprocess.Popen:
    command, *arguments = COMMANDS[name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with (folder / "said.log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", f"sivgap.{command}", *arguments], cwd=folder, env=environment,
                                stdout=log, stderr=log, start_new_session=True)  # fmt: skip


def finish(name: str, folder: Path) -> int:
    process = start(name, folder)
    try:
        return process.wait(600)
    finally:
        end_all(process)


def end_all(process: subprocess.Popen) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


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


class Disk:
    """A small ext4 file system in a file, of which a copy can be taken at any moment."""

    def __init__(self, work: Path) -> None:
        self.image, self.mounted = work / "disk.img", work / "disk"
        self.mounted.mkdir(exist_ok=True)
        with self.image.open("wb") as file:
            file.truncate(IMAGE_MIB * 2**20)
        self._run("mkfs.ext4", "-q", "-F", str(self.image))
        self._mount()

    def cut(self) -> None:
        """Lose what is not on the disk."""
        copy = self.image.with_suffix(".copy")
        shutil.copyfile(self.image, copy)
        self.close()
        os.replace(copy, self.image)
        self._mount()

    def close(self) -> None:
        for _ in range(20):
            if subprocess.run(["umount", str(self.mounted)], capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.2)
        self._run("umount", "-l", str(self.mounted))

    def _mount(self) -> None:
        # The journal is not to be written by the clock: all that survives was synced by the run.
        self._run("mount", "-o", "loop,commit=600", str(self.image), str(self.mounted))

    def _run(self, *command: str) -> None:
        subprocess.run(command, capture_output=True, check=True)


def end(kind: str, process: subprocess.Popen, wait: float, disk: Disk | None) -> int | None:
    """Let it run for `wait` seconds, then end it; its status, None if it had come to its end before."""
    try:
        process.wait(wait)
        end_all(process)
        return None
    except subprocess.TimeoutExpired:
        pass
    if kind in ("kill", "power"):
        end_all(process)
        if disk is not None:
            disk.cut()
        return int(process.returncode)
    if kind == "term":
        process.terminate()
    else:
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + 4 * 2**20
        resource.prlimit(process.pid, resource.RLIMIT_AS, (limit, limit))
    try:
        process.wait(120)
    except subprocess.TimeoutExpired:
        return -99  # neither went on nor ended
    finally:
        end_all(process)
    return int(process.returncode)


def chain(name: str, kind: str, random_: random.Random, work: Path, whole: dict, length: float) -> dict:
    """One run, ended again and again; what became of it."""
    disk = Disk(work) if kind == "power" else None
    folder = disk.mounted / "here" if disk else Path(tempfile.mkdtemp(prefix="chain-", dir=work))
    prepare(folder)
    if disk:
        subprocess.run(["sync", "-f", str(folder)], check=True)
    ends: list[list] = []
    said = ""
    try:
        for _ in range(MOST):
            wait = random_.uniform(0.2, 0.95) * length
            process = start(name, folder)
            status = end(kind, process, wait, disk)
            if status is None:
                break
            ends.append([round(wait, 2), status])
        status = finish(name, folder)
        said = (folder / "said.log").read_text(errors="replace") if (folder / "said.log").exists() else ""
        found = numbers(folder)
        odd = [s for _, s in ends if s not in ALLOWED[kind]]
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
    whole, lengths = {}, {}
    for name in COMMANDS:
        folder = Path(tempfile.mkdtemp(prefix=f"whole-{name}-", dir=a.work))
        prepare(folder)
        began = time.monotonic()
        assert finish(name, folder) == 0, (folder / "said.log").read_text()[-2000:]
        whole[name], lengths[name] = numbers(folder), time.monotonic() - began
        shutil.rmtree(folder)
        print(f"undisturbed {name}: {lengths[name]:.0f} s", flush=True)
    number = 0
    while sum(len(c["ends"]) for c in done.values()) < a.kills and time.monotonic() - started < a.minutes * 60:
        for name in COMMANDS:
            for kind in kinds:
                key = f"{name} {kind} {number}"
                if key in done or time.monotonic() - started > a.minutes * 60:
                    continue
                done[key] = chain(name, kind, random.Random(key), a.work, whole[name], lengths[name])
                file.write_text(json.dumps(done, indent=0) + "\n")
                kept = done[key]
                count = sum(len(c["ends"]) for c in done.values())
                print(f"{count} of {a.kills}: {key}: {kept['ends']} same={kept['same']}", flush=True)
        number += 1
    report(done, lengths)


def report(done: dict[str, dict], lengths: dict[str, float]) -> None:
    rows = []
    for name in COMMANDS:
        for kind in ALLOWED:
            chains = [c for key, c in done.items() if key.startswith(f"{name} {kind} ")]
            if chains:
                ends = Counter(status for c in chains for _, status in c["ends"])
                statuses = ", ".join(f"{s} ({n})" for s, n in sorted(ends.items()))
                rows.append([name, kind, str(sum(ends.values())), str(len(chains)), str(sum(c["same"] for c in chains)),
                             statuses, str(sum(c["traceback"] for c in chains))])  # fmt: skip
    kills = sum(len(c["ends"]) for c in done.values())
    lost = [key for key, c in done.items() if not c["same"] or c["odd"] or c["status"]]
    head = ["command", "end", "ends", "runs", "runs with the undisturbed numbers", "exit status", "with a traceback"]
    took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in lengths.items())
    verdict = f"{kills} ends in {len(done)} runs; {len(lost)} lost or corrupt. Undisturbed: {took}."
    (RESULTS / "kills.md").write_text(f"# Ended and started again\n\n{verdict}\n\n{markdown(head, rows)}")
    print(verdict, markdown(head, rows), *lost, sep="\n\n")
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
