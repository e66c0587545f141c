"""Disks that fill up at a random write: the command says so in a sentence, and with more room the same command ends.

    python benchmarks/reliability/full_disks.py [--disks 60] [--minutes 30] [--work FOLDER]

train, evaluate, sweep and fit (`kills`) write to a file system in memory that holds a random part of what they need,
three times a larger one, and then enough. Each time but the last the command must end with status 1 and one sentence,
without a traceback; in the end there must be the numbers of a command that had room at once, and nothing left over.
Needs root, to mount. Resumable: finished runs are in the JSON file. Writes
benchmarks/results/reliability/full_disks.md and .json; ends with status 1 if anything was lost.
"""

import argparse
import itertools
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from forked import forked, ready
from kills import COMMANDS, PATIENCE, RESULTS, end_all, left_behind, numbers, prepare
from rich.progress import track

from sivgap.report.tables import markdown

SIZES = 3
"""Disks of one run that are too small."""
SWEEPS_EVERY = 3
"""Rounds between two of sweeps, which take longest."""
ROOM = 256 * 2**20
BLOCK = 4096


class Memory:
    """A file system in memory, of any size."""

    def __init__(self, work: Path) -> None:
        self.mounted = work / "full"
        self.mounted.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(self.mounted)], check=True)

    def holds(self, size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.mounted)], check=True)

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.mounted)], check=True)


def run(name: str, folder: Path, log: Path) -> tuple[int, list[str], bool]:
    """Its status, its sentences, and whether there was a traceback."""
    log.unlink(missing_ok=True)
    process = forked(folder, log, *COMMANDS[name])
    process.join(PATIENCE)
    end_all(process)
    said = log.read_text(errors="replace")
    sentences = [line for line in said.splitlines() if line.startswith("sivgap: ")]
    return int(process.exitcode or 0), sentences, "Traceback" in said


def needs(folder: Path) -> int:
    """Bytes on a disk."""
    return sum(-(-path.stat().st_size // BLOCK) * BLOCK for path in folder.rglob("*"))


def chain(name: str, random_: random.Random, work: Path, whole: dict, need: int) -> dict:
    """One run on disks that are too small, and at last on one that is not."""
    memory, log = Memory(work), work / "said.log"
    folder = memory.mounted / "here"
    try:
        prepare(folder)
        first = needs(memory.mounted) + BLOCK
        ends = []
        for share in sorted(random_.random() for _ in range(SIZES)):
            memory.holds(first + int(share * (need - first)))
            status, sentences, traceback = run(name, folder, log)
            if status == 0:
                break
            ends.append(
                {"share": round(share, 3), "status": status, "sentence": sentences[-1:], "traceback": traceback}
            )
        memory.holds(ROOM)
        status, _, traceback = run(name, folder, log)
        return {"ends": ends, "status": status, "same": numbers(folder) == whole, "left": left_behind(folder),
                "traceback": traceback}  # fmt: skip
    finally:
        memory.close()


def sound(found: dict) -> bool:
    """Whether every too small disk was told of, and nothing was lost."""
    told = all(
        e["status"] == 1 and e["sentence"] and "unexpected" not in e["sentence"][0] and not e["traceback"]
        for e in found["ends"]
    )
    return told and found["same"] and found["status"] == 0 and not found["left"] and not found["traceback"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--disks", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=30.0, help="begin no run later than this")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "sivgap-full-disks")
    a = parser.parse_args()
    started = time.monotonic()
    RESULTS.mkdir(parents=True, exist_ok=True)
    a.work.mkdir(parents=True, exist_ok=True)
    file = RESULTS / "full_disks.json"
    kept = json.loads(file.read_text()) if file.exists() else {}
    done: dict[str, dict] = {key: found for key, found in kept.items() if sound(found)}  # the others are tried again
    ready()
    whole, need = {}, {}
    for name in COMMANDS:
        folder = Path(tempfile.mkdtemp(prefix=f"whole-{name}-", dir=a.work))
        prepare(folder)
        assert run(name, folder, a.work / "said.log")[0] == 0, (a.work / "said.log").read_text()[-2000:]
        whole[name], need[name] = numbers(folder), needs(folder)
        shutil.rmtree(folder)
    names = (n for number in itertools.count() for n in COMMANDS if n != "sweep" or number % SWEEPS_EVERY == 0)
    planned = [f"{name} {number}" for number, name in enumerate(itertools.islice(names, a.disks // SIZES))]
    for key in track([key for key in planned if key not in done], "filling"):
        if time.monotonic() - started > a.minutes * 60:
            break
        name = key.partition(" ")[0]
        done[key] = chain(name, random.Random(key), a.work, whole[name], need[name])
        file.write_text(json.dumps(done, indent=1) + "\n")
    report(done, need)


def report(done: dict[str, dict], need: dict[str, int]) -> None:
    rows = []
    for name in COMMANDS:
        runs = [found for key, found in done.items() if key.startswith(f"{name} ")]
        ends = [e for found in runs for e in found["ends"]]
        statuses = ", ".join(f"{s} ({n})" for s, n in sorted(Counter(e["status"] for e in ends).items()))
        counts = (len(ends), len(runs), sum(found["same"] for found in runs))
        tracebacks = sum(e["traceback"] for e in ends) + sum(found["traceback"] for found in runs)
        rows.append([name, f"{need[name] / 1024:.0f}", *map(str, counts), statuses, str(tracebacks)])
    lost = [key for key, found in done.items() if not sound(found)]
    count = sum(len(found["ends"]) for found in done.values())
    head = ["command", "needs (KiB)", "full disks", "runs", "the undisturbed numbers", "exit status", "tracebacks"]
    verdict = f"{count} disks that were full, in {len(done)} runs; {len(lost)} lost, corrupt or not told in a sentence."
    (RESULTS / "full_disks.md").write_text(f"# Full disks\n\n{verdict}\n\n{markdown(head, rows)}")
    print(verdict, markdown(head, rows), *[f"{key}: {done[key]}" for key in lost], sep="\n\n")
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
