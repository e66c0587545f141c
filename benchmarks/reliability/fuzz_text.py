"""A million hostile texts and files for everything that reads what strangers write.

    python benchmarks/reliability/fuzz_text.py [--inputs 1000000] [--targets answers,...] [--seed 0]

Each block of 2,000 inputs runs in a process of its own with a deadline for every input, so that a crash of the
interpreter and a hang are counted like any other. Resumable: finished blocks are kept in a JSON file and not repeated.
Writes benchmarks/results/reliability/fuzz_text.md and .json; ends with status 1 if anything crashed or hung, or if
a target read all of its inputs or none.
"""

import argparse
import json
import multiprocessing
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from rich.progress import track
from targets import FOLDER, TARGETS

from sivgap.report.tables import markdown

RESULTS = Path(__file__).parents[1] / "results" / "reliability"
BLOCK = 2_000
DEADLINE = 5.0
"""Seconds of processor time for one input; a thousand times what one takes."""


class Hang(BaseException):
    pass


def _late(number: int, frame: object) -> None:
    raise Hang


def _block(name: str, seed: int, answer: object) -> None:
    """Inputs of one block; what went wrong, how many were read, the slowest (s), the peak of memory (MiB)."""
    signal.signal(signal.SIGVTALRM, _late)
    wrong, read, slowest = [], 0, 0.0
    for i in range(BLOCK):
        key = f"{name} {seed} {i}"
        signal.setitimer(signal.ITIMER_VIRTUAL, DEADLINE)
        started = time.process_time()
        try:
            read += TARGETS[name](random.Random(key))
        except Hang:
            wrong.append([key, "hang", ""])
        except Exception as error:
            wrong.append([key, type(error).__name__, "".join(traceback.format_exception(error)[-3:])[-900:]])
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        slowest = max(slowest, time.process_time() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer.send({"wrong": wrong, "read": read, "slowest": slowest, "peak": peak})  # type: ignore[attr-defined]


def run_block(name: str, seed: int) -> dict:
    """One block in a process forked from this one, whose imports it shares."""
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_block, args=(name, seed, theirs))
    process.start()
    theirs.close()
    try:
        found = mine.recv()
    except EOFError:
        found = None
    process.join()
    died = {"wrong": [[f"{name} {seed}", f"exit status {process.exitcode}", ""]], "read": 0, "slowest": 0, "peak": 0}
    return found or died


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1_000_000, help="in all")
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--seed", type=int, default=0, help="of the first block")
    a = parser.parse_args()
    names = a.targets.split(",")
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / "fuzz_text.json"
    done: dict[str, dict] = json.loads(file.read_text()) if file.exists() else {}
    per_target = -(-a.inputs // (BLOCK * len(names)))
    planned = [(name, a.seed + i) for i in range(per_target) for name in names]
    started = time.monotonic()
    left = [(name, seed) for name, seed in planned if f"{name} {seed}" not in done]
    for number, (name, seed) in enumerate(track(left, "fuzzing")):
        done[f"{name} {seed}"] = run_block(name, seed)
        if number % 10 == 9 or number == len(left) - 1:
            file.write_text(json.dumps(done, indent=0) + "\n")
    shutil.rmtree(FOLDER, ignore_errors=True)
    rows, wrong, one_sided = [], [], []
    for name in TARGETS:
        blocks = [block for key, block in done.items() if key.startswith(f"{name} ")]
        if not blocks:
            continue
        wrong += [w for block in blocks for w in block["wrong"]]
        count = len(blocks) * BLOCK
        bad = sum(len(block["wrong"]) for block in blocks)
        read = sum(block["read"] for block in blocks)
        one_sided += [name] * (not 0 < read < count - bad)
        rows.append([name, f"{count:,}", f"{read:,}", f"{count - read - bad:,}", str(bad),
                     f"{max(b['slowest'] for b in blocks):.2f}", f"{max(b['peak'] for b in blocks):.0f}"])  # fmt: skip
    head = ["what", "inputs", "read", "refused", "crashes and hangs", "slowest (s)", "peak memory (MiB)"]
    total = len(done) * BLOCK
    verdict = f"{total:,} inputs, {len(wrong)} crashes and hangs; deadline {DEADLINE:g} s of processor time each."
    (RESULTS / "fuzz_text.md").write_text(f"# Hostile texts and files\n\n{verdict}\n\n{markdown(head, rows)}")
    print(verdict, markdown(head, rows), sep="\n\n")
    for key, kind, trace in wrong[:20]:
        print(key, kind, trace, sep="\n")
    print(f"{time.monotonic() - started:.0f} s", *[f"{name}: all read, or all refused" for name in one_sided], sep="\n")
    sys.exit(bool(wrong or one_sided))


if __name__ == "__main__":
    main()
