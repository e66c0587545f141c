"""A run of hours: memory, open files, threads and speed of its process, after every half epoch.

    python benchmarks/reliability/soak.py [--minutes 180] [OVERRIDES ...]

The tiny model measures and trains until the time is over, or Ctrl-C, and is then stopped by a signal as a scheduler
would. Flat means: the slope of each figure over the second half of the run, times the run's length, is below a tenth of
its mean. Speed is in processor time, which other work on the machine changes less.
Writes benchmarks/results/reliability/soak.json, .md and .png.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from sivgap.report.tables import markdown

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "reliability"
SMALL = ["epochs=100000", "prompts_per_epoch=64", "measure.every=0.5", "measure.train_prompts=16",
         "measure.test_prompts=16", "n=4", "tracking.wandb.mode=disabled"]  # fmt: skip
FIGURES = ("memory (MiB)", "open files", "threads", "processor seconds a half epoch")
ALLOWED = 0.1


def looked_at(process: int) -> list[float]:
    status = Path(f"/proc/{process}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    files = len(list(Path(f"/proc/{process}/fd").iterdir()))
    spent = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    worked = (int(spent[11]) + int(spent[12])) / os.sysconf("SC_CLK_TCK")
    return [int(fields["VmRSS"].split()[0]) / 1024, files, int(fields["Threads"]), worked]


def measurements(folder: Path) -> int:
    file = next(folder.glob("runs/*/trajectory.jsonl"), None)
    return 0 if file is None else file.read_bytes().count(b'"split": "test"')


def drift(times: np.ndarray, values: np.ndarray) -> float:
    """What the slope of the second half adds over the whole run, as a share of the mean."""
    half = len(times) // 2
    slope = np.polyfit(times[half:], values[half:], 1)[0]
    return float(slope * (times[-1] - times[0]) / values[half:].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=180.0)
    parser.add_argument("overrides", nargs="*")
    a = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    rows: list[list[float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "said.log").open("w") as log:
            process = subprocess.Popen([sys.executable, "-m", "sivgap.train", *SMALL, *a.overrides], cwd=folder,
                                       env=environment, stdout=log, stderr=log, start_new_session=True)  # fmt: skip
        started, seen, before = time.monotonic(), 0, 0.0
        with suppress(KeyboardInterrupt):
            while time.monotonic() - started < a.minutes * 60 and process.poll() is None:
                time.sleep(0.2)
                found = measurements(folder)
                if found > seen:
                    *figures, worked = looked_at(process.pid)
                    if seen:  # the first one includes loading
                        rows.append([time.monotonic() - started, *figures, (worked - before) / (found - seen)])
                    seen, before = found, worked
        process.send_signal(signal.SIGTERM)
        status = process.wait(300)
        said = (folder / "said.log").read_text()[-1500:]
    if status != 75 or len(rows) < 6:
        sys.exit(f"the run ended with status {status} after {len(rows)} half epochs: {said}")
    values = np.array(rows)
    table, flat = [], True
    for column, title in enumerate(FIGURES, 1):
        change = drift(values[:, 0], values[:, column])
        flat &= change < ALLOWED
        ends = values[0, column], values[-1, column]
        table.append([title, f"{ends[0]:.4g}", f"{ends[1]:.4g}", f"{values[:, column].max():.4g}", f"{change:+.1%}"])
    head = ["", "at first", "in the end", "most", "drift over the run, by its second half"]
    verdict = (f"{values[-1, 0] / 60:.0f} minutes, {len(rows)} half epochs, on a machine that others used too; "
               f"{'flat' if flat else 'not flat'} (drift below {ALLOWED:.0%}).")  # fmt: skip
    (RESULTS / "soak.md").write_text(f"# A long run\n\n{verdict}\n\n{markdown(head, table)}")
    result = {"columns": ["seconds", *FIGURES], "rows": values.round(3).tolist()}
    (RESULTS / "soak.json").write_text(json.dumps(result) + "\n")
    draw(values)
    print(verdict, markdown(head, table), sep="\n\n")
    sys.exit(not flat)


def draw(values: np.ndarray) -> None:
    figure, axes = plt.subplots(2, 2, figsize=(9, 5.5), layout="constrained", sharex=True)
    for column, (axis, title) in enumerate(zip(axes.flat, FIGURES, strict=True), 1):
        axis.plot(values[:, 0] / 60, values[:, column], ".", markersize=3)
        axis.set_title(title, fontsize=10)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.25)
    for axis in axes[1]:
        axis.set_xlabel("minutes")
    figure.savefig(RESULTS / "soak.png", dpi=120)


if __name__ == "__main__":
    main()
