"""Does an evaluation of many responses stay small, and is nothing paid for twice when it is killed?

    python benchmarks/streaming.py                       5,000 problems x 128 responses, four kills

Evaluates the embedded model, kills it at random moments, goes on, and compares what was sampled over all attempts with
what lies in the store. Memory is the largest resident size of a process of any attempt. Writes
benchmarks/results/streaming.md.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pyarrow.parquet as parquet
from study import RESULTS

from sivgap.report.tables import markdown

ROOT = Path(__file__).parents[1]


def attempt(folder: Path, arguments: list[str], limit: float | None) -> tuple[subprocess.CompletedProcess, dict]:
    """One attempt, killed after `limit` seconds: what became of it; its seconds and largest resident size in GiB."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "sivgap.evaluate", *arguments], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    largest = 0.0

    def watch() -> None:
        nonlocal largest
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
                size = next((line for line in status.splitlines() if line.startswith("VmRSS")), "VmRSS 0 kB")
                largest = max(largest, int(size.split()[1]) / 2**20)
            except OSError:
                return
            if limit is not None and time.monotonic() - started > limit:
                process.send_signal(signal.SIGKILL)
                return
            time.sleep(0.2)

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, _ = process.communicate()
    watcher.join()
    done = subprocess.CompletedProcess(process.args, process.returncode, out, "")
    return done, {"seconds": time.monotonic() - started, "GiB": largest, "stored": stored(folder)[1]}


def stored(folder: Path) -> tuple[int, int, int]:
    """Rows, distinct responses, and tokens in the store of responses."""
    rows, tokens, names = 0, 0, set()
    for part in folder.glob("runs/store/*/part-*.parquet"):
        table = parquet.read_table(part, columns=["prompt", "sample", "length"])
        rows += len(table)
        tokens += sum(table["length"].to_pylist())
        names |= set(zip(table["prompt"].to_pylist(), table["sample"].to_pylist(), strict=True))
    return rows, len(names), tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=5000)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--longest", type=float, default=120, help="seconds before a kill, at most")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    arguments = [f"dataset.test_size={asked.prompts}", f"n={asked.samples}"]
    random.seed(asked.seed)
    with tempfile.TemporaryDirectory() as name:
        folder, attempts = Path(name), []
        for _ in range(asked.kills):
            _, took = attempt(folder, arguments, random.uniform(20, asked.longest))
            attempts.append({"what": "killed", **took})
            print(attempts[-1], file=sys.stderr, flush=True)
        done, took = attempt(folder, arguments, None)
        assert done.returncode == 0
        rows, distinct, tokens = stored(folder)
        attempts.append({"what": "to the end", **took})
        last = folder / done.stdout.splitlines()[-1]
        again, took = attempt(folder, [*arguments, "weight.tau=0.8"], None)
        attempts.append({"what": "another threshold", **took})
        other = json.loads((folder / again.stdout.splitlines()[-1] / "status.json").read_text())["tokens_generated"]
        assert rows == distinct == asked.prompts * asked.samples
        said = json.loads((last / "evaluation.json").read_text())
    text = (
        f"{asked.prompts:,} problems x {asked.samples} responses of the embedded model, verifier `qe`; killed "
        f"{asked.kills} times. {distinct:,} responses ({tokens:,} tokens) lie in the store, {rows - distinct} of them "
        f"twice; another threshold generated {other} tokens. Solver accuracy {said['solver_accuracy']['value']:.3f}, "
        f"gap {said['gv_gap']['value']:.3f}."
    )
    header = ["attempt", "seconds", "largest resident size (GiB)", "responses stored after it"]
    cells = [[a["what"], f"{a['seconds']:.0f}", f"{a['GiB']:.2f}", f"{a['stored']:,}"] for a in attempts]
    made = f"# An evaluation that streams\n\n{text}\n\n{markdown(header, cells)}"
    (RESULTS / "streaming.md").write_text(made)
    print(RESULTS / "streaming.md")


if __name__ == "__main__":
    main()
