"""Random bits of everything that sivgap keeps are flipped: no reader takes another number for what was written.

    python benchmarks/reliability/flips.py [--flips 5000] [--seed 0] [--work FOLDER]

Runs, a stopped run, an evaluation with its store, fits, a sweep and caches are made once (`subjects`). Then one file
is changed at a time: a bit (three times of four), its end cut off, or 512 bytes of zeros. All that reads it does so in
this process, by the functions of the commands; every `WHOLE`-th time a whole command is run on it, too. What comes out
must be what came out before, a sentence that refuses it, or, of a run that goes on, one of its earlier sound states.

Resumable: FOLDER holds what was made, and a line for each flip. Flips that went wrong are tried again. Writes
benchmarks/results/reliability/flips.md and .json.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from forked import ready
from rich.progress import track
from study import keep, kept
from subjects import Subject, command, make, subjects

from sivgap.errors import SivgapError
from sivgap.report.tables import markdown

RESULTS = Path(__file__).parents[1] / "results" / "reliability"
SKIPPED = (".png", ".pdf", ".html", ".md", ".csv", ".log", ".svg")
"""What is made for people from the rest, and made again by a command."""
WHOLE = 80
SECTOR = 512
OUTCOMES = ("refused", "as before", "sound state", "wrong")


class Shelf:
    """The files under a folder as they were, and how to have them so again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = {path: path.read_bytes() for path in self._files()}
        self.stat = {path: self._look(path) for path in self.data}

    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def _look(self, path: Path) -> tuple[int, int]:
        found = path.stat()
        return found.st_size, found.st_mtime_ns

    def restore(self, touched: Path) -> None:
        now = self._files()
        for path in set(now) - self.data.keys():
            path.unlink()
        for path, data in self.data.items():
            if path == touched or not path.is_file() or self._look(path) != self.stat[path]:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                self.stat[path] = self._look(path)
        for folder in sorted((p for p in self.folder.rglob("*") if p.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()


def damaged(random_: random.Random, data: bytes) -> tuple[str, bytes]:
    """What a disk did to a file, and what it holds then."""
    found = bytearray(data)
    place = random_.randrange(len(found))
    kind = random_.choices(["bit", "cut", "zeros"], (6, 1, 1))[0]
    if kind == "bit":
        found[place] ^= 1 << random_.randrange(8)
    elif kind == "cut":
        del found[place:]
    else:
        place -= place % SECTOR
        found[place : place + SECTOR] = bytes(len(found[place : place + SECTOR]))
    return kind, bytes(found)


def answer(read: Callable[[], str]) -> str:
    try:
        return read()
    except SivgapError as error:
        return "refused" if 0 < len(str(error)) < 1000 else f"!a sentence of {len(str(error))} characters"
    except Exception as error:
        return f"!{type(error).__name__}: {error}"


def whole(top: Path, subject: Subject) -> str:
    """What a whole command leaves behind."""
    status, said = command(top, *subject.command)
    sentences = [line for line in said.splitlines() if line.startswith("sivgap: ")]
    if "Traceback" in said or "unexpected" in said or status not in (0, 1):
        return f"!status {status}: {said[-600:]}"
    return answer(subject.result) if status == 0 else ("refused" if len(sentences) == 1 else f"!{said[-600:]}")


def states(found: dict[str, Subject]) -> dict[str, list[str]]:
    """What runs may go on from instead: without their status, and without their newest checkpoint."""
    sound: dict[str, list[str]] = {}
    for name, subject in found.items():
        checkpoints = sorted(subject.folder.glob("checkpoints/epoch=*/state.json"))
        for path in [subject.folder / "status.json", *checkpoints[-1:]] if checkpoints else []:
            shelf = Shelf(subject.folder)
            path.write_bytes(b"x")
            sound.setdefault(name, []).append(answer(subject.read["train"]))
            shelf.restore(path)
    return sound


def judge(said: str, right: str, sound: list[str]) -> str:
    if said == "refused":
        return "refused"
    return "as before" if said == right else "sound state" if said in sound else "wrong"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "sivgap-flips")
    a = parser.parse_args()
    ready()
    made, log = a.work / "made", a.work / "flips.jsonl"
    if not made.exists():
        shutil.rmtree(a.work / "making", ignore_errors=True)
        make(a.work / "making")
        (a.work / "making").rename(made)
    done = {row["flip"]: row for row in kept(log) if "wrong" not in row["said"].values()}
    started = time.monotonic()
    fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="sivgap-flips-", dir=fast) as name:
        top = Path(shutil.copytree(made, Path(name) / "made"))
        found = subjects(top)
        shelf, shelves = Shelf(top), {key: Shelf(subject.folder) for key, subject in found.items()}
        right = {key: {k: read() for k, read in subject.read.items()} for key, subject in found.items()}
        results = {key: subject.result() for key, subject in found.items()}
        results["stopped run"] = results["run"]  # what it would have come to
        sound = states(found)
        shelf.restore(top)
        files = {key: [p for p in kept_.data if p.suffix not in SKIPPED and kept_.data[p]]
                 for key, kept_ in shelves.items()}  # fmt: skip
        for number in track([i for i in range(a.flips) if i not in done], "flipping"):
            random_ = random.Random(f"{a.seed} {number}")
            key = random_.choice(list(found))
            path = random_.choice(files[key])
            subject = found[key]
            kind, changed = damaged(random_, shelves[key].data[path])
            path.write_bytes(changed)
            said = {k: answer(read) for k, read in subject.read.items()}
            judged = {k: judge(text, right[key][k], sound.get(key, [])) for k, text in said.items()}
            if number % WHOLE == 0 and subject.command:
                shelves[key].restore(path)
                path.write_bytes(changed)
                said["command"] = whole(top, subject)
                judged["command"] = judge(said["command"], results[key], [])
                shelf.restore(path)
            shelves[key].restore(path)
            row = {"flip": number, "subject": key, "file": str(path.relative_to(top)), "kind": kind, "said": judged}
            wrong = {k: said[k][:300] for k, outcome in judged.items() if outcome == "wrong"}
            done[number] = row | ({"wrong": wrong} if wrong else {})
            keep(log, done[number])
    print(f"{time.monotonic() - started:.0f} s")
    report(list(done.values()))


def report(rows: list[dict]) -> None:
    """Tables by file and by kind of damage; a flip counts where the worst that a reader made of it is."""
    counts: dict[tuple[str, str], Counter] = defaultdict(Counter)
    kinds: dict[str, Counter] = defaultdict(Counter)
    commands: Counter = Counter()
    for row in rows:
        path = Path(row["file"])
        name = path.name if path.suffix != ".parquet" else "*.parquet"
        outcomes = set(row["said"].values())
        worst = next(o for o in ("wrong", "refused", "sound state", "as before") if o in outcomes)
        counts[row["subject"], name if not name.endswith(".json") or len(name) < 20 else "JOB.json"][worst] += 1
        kinds[row["kind"]][worst] += 1
        if "command" in row["said"]:
            commands[row["said"]["command"]] += 1
    table = [[*key, *(str(found[o]) for o in OUTCOMES)] for key, found in sorted(counts.items())]
    by_kind = [[kind, *(str(found[o]) for o in OUTCOMES)] for kind, found in sorted(kinds.items())]
    wrong = [row for row in rows if "wrong" in row["said"].values()]
    verdict = (f"{len(rows):,} files changed by a disk, one at a time; {len(wrong)} of them taken for other numbers, "
               f"or a crash. {sum(commands.values())} of them were given to a whole command as well: "
               + ", ".join(f"{n} {o}" for o, n in commands.most_common()) + ".")  # fmt: skip
    head = ["refused", "as before", "an earlier sound state", "wrong"]
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "flips.md").write_text(
        f"# Flipped bits\n\n{verdict}\n\n{markdown(['', *head], by_kind)}\n{markdown(['of', 'file', *head], table)}"
    )
    result = {"flips": len(rows), "kinds": kinds, "files": {" ".join(k): v for k, v in sorted(counts.items())},
              "commands": commands, "wrong": wrong}  # fmt: skip
    (RESULTS / "flips.json").write_text(json.dumps(result, indent=1) + "\n")
    print(verdict, markdown(["", *head], by_kind), markdown(["of", "file", *head], table), *wrong[:12], sep="\n\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
