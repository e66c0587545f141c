"""Random bits of a run's files are flipped, one at a time: no reader takes another number for what was measured.

    python benchmarks/reliability/flips.py [--flips 5000] [--seed 0]

One small run and one small evaluation are made; then a bit of a random file (or in one case of ten the file's end) is
changed, and everything that reads the directory does so: trajectory, report, fit, checkpoint, stored responses. Each
must give what it gave before, or a sentence. Writes benchmarks/results/reliability/flips.md and .json.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.progress import track

from sivgap.errors import RunError
from sivgap.report.evaluation_record import read_evaluation
from sivgap.report.record import read_record
from sivgap.report.tables import markdown
from sivgap.runs.checkpoint import load_newest
from sivgap.runs.load_curves import from_run, prompt_curves
from sivgap.runs.sums import check
from sivgap.runs.trajectory import final_accuracy
from sivgap.store.parts import Parts

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "reliability"
SKIPPED = (".png", ".pdf", ".html", ".md", ".csv", ".log", ".lock", ".svg")
"""What is made for people from the rest, and made again by a command."""


def make(folder: Path) -> tuple[Path, Path, Path]:
    """A run, an evaluation and the evaluation's store."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

    def command(*words: str) -> Path:
        done = subprocess.run([sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True,
                              text=True, check=True)  # fmt: skip
        return folder / done.stdout.splitlines()[-1]

    run = command("sivgap.train", "experiment=smoke", "epochs=2", "tracking.wandb.mode=disabled", "engine.threads=1")
    command("sivgap.fit", f"runs={run}", "bootstrap=0")
    made = command("sivgap.evaluate", "dataset.test_size=16", "n=4", "engine.threads=1")
    return run, made, next((folder / "runs" / "store").iterdir())


def plain(value: object) -> str:
    """A value as text, equal where every number in it is."""
    return repr(value) if not hasattr(value, "to_json") else value.to_json()


def readers(run: Path, made: Path, store: Path) -> dict[str, Callable[[], str]]:
    def record() -> str:
        found = read_record(run)
        samples = {epoch: plain(frame) for epoch, frame in found.samples.items()}
        return plain((found.lines, found.status, found.config, samples))

    def curves() -> str:
        found = prompt_curves(run, [0.0, 0.5, 1.0], "test", "first")
        return plain(None if found is None else [np.asarray(part).tolist() for part in vars(found).values()])

    def checkpoint() -> str:
        found, said = load_newest(run / "checkpoints")
        if said or found is None:
            raise RunError("; ".join(said) or "no checkpoint")  # an earlier one is gone on from, and that is said
        tensors = {**found.weights, **found.optimizer}
        return plain((found.progress, {k: v.tolist() for k, v in tensors.items()}, found.labels, found.queue,
                      found.trajectory))  # fmt: skip

    def stored() -> str:
        parts = Parts(store, {})
        return plain(parts.read(list(parts._holding), ["sample"]).sort_values(["prompt", "sample"]))

    def evaluation() -> str:
        found = vars(read_evaluation(made))
        return plain({k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in found.items()})

    def fit_file() -> str:
        check(run, run / "fit.json")
        return plain(json.loads((run / "fit.json").read_text()))

    return {
        "record": record,
        "fit": lambda: plain([p.tolist() for p in (from_run(run, "test", "response", "first").solver,)]),
        "curves": curves,
        "fit.json": fit_file,
        "accuracy": lambda: plain(final_accuracy(run)),
        "checkpoint": checkpoint,
        "stored": stored,
        "evaluation": evaluation,
    }


def damage(random_: random.Random, path: Path, data: bytes) -> str:
    found = bytearray(data)
    if random_.random() < 0.1:
        del found[random_.randrange(len(found)) :]
        kind = "cut"
    else:
        place = random_.randrange(len(found))
        found[place] ^= 1 << random_.randrange(8)
        kind = "flip"
    path.write_bytes(bytes(found))
    return kind


def answer(read: Callable[[], str]) -> str:
    try:
        return read()
    except RunError:
        return "refused"
    except Exception as error:
        return f"!{type(error).__name__}: {error}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run, made, store = make(folder)
        asked = readers(run, made, store)
        right = {key: read() for key, read in asked.items()}
        files = [p for root in (run, made, store) for p in root.rglob("*") if p.is_file() and p.stat().st_size]
        files = sorted(p for p in files if p.suffix not in SKIPPED)
        counts: dict[str, Counter] = defaultdict(Counter)
        wrong = []
        for number in track(range(a.flips), "flipping"):
            random_ = random.Random(f"{a.seed} {number}")
            path = random_.choice(files)
            data = path.read_bytes()
            damage(random_, path, data)
            said = {key: answer(read) for key, read in asked.items()}
            path.write_bytes(data)
            kind = path.name if path.suffix != ".parquet" else f"{path.parent.name[:7]}/*.parquet"
            silent = [key for key, text in said.items() if text not in ("refused", right[key])]
            counts[kind]["refused" if "refused" in said.values() else "read as before"] += 1
            if silent:
                counts[kind]["other numbers, or a crash"] += 1
                wrong.append([str(path.relative_to(folder)), number, {k: said[k][:200] for k in silent}])
    columns = ["refused", "read as before", "other numbers, or a crash"]
    rows = [[kind, *(str(found[c]) for c in columns)] for kind, found in sorted(counts.items())]
    verdict = f"{a.flips} flips and cuts, {len(wrong)} of them taken for other numbers or a crash."
    (RESULTS / "flips.md").write_text(f"# Flipped bits\n\n{verdict}\n\n{markdown(['file', *columns], rows)}")
    result = {"flips": a.flips, "counts": counts, "wrong": wrong}
    (RESULTS / "flips.json").write_text(json.dumps(result, indent=1) + "\n")
    print(verdict, markdown(["file", *columns], rows), *wrong[:12], f"{time.monotonic() - started:.0f} s", sep="\n\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
