"""Predictions of the theory that nobody had tested (THEORY section 6), on the embedded default.

    python benchmarks/predictions.py [--only initial_gap table1 timing arrivals] [--runs-dir runs]

Runs the sweeps (one that is done is found, not repeated), writes their reports anew, and collects the tables that
test a prediction, with what they say, in benchmarks/results/predictions.md.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from study import RESULTS

STUDIES = {
    "initial_gap": ("U_s,inf against the initial gap", ("limits",)),
    "table1": (
        "Each strategy from the others; one gamma at every arrival; timing",
        ("timing", "arrivals", "cross_fit"),
    ),
    "timing": ("Timing, in runs twice as long", ("timing",)),
    "arrivals": ("One gamma at every arrival, with half of the prompts", ("arrivals", "cross_fit")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=STUDIES, default=list(STUDIES))
    parser.add_argument("--runs-dir", default="runs")
    a = parser.parse_args()
    record = RESULTS / "predictions.json"
    found = json.loads(record.read_text()) if record.exists() else {}
    for name in a.only:
        found[name] = study(name, a.runs_dir)
        record.write_text(json.dumps(found, indent=2) + "\n")
        (RESULTS / "predictions.md").write_text(page(found))


def study(name: str, runs_dir: str) -> dict[str, object]:
    """The tables of one sweep, by name, as Markdown, and the sentences of its report."""
    command = [sys.executable, "-m", "sivgap.train", "-m", f"experiment={name}", f"runs_dir={runs_dir}"]
    sweep = call([*command, "tracking.wandb.mode=disabled"])[0]
    _, said = call([sys.executable, "-m", "sivgap.report", f"sweep={sweep}"])
    tables = {path.stem: path.read_text() for path in sorted((Path(sweep) / "tables").glob("*.md"))}
    kept = {stem: text for stem, text in tables.items() if stem.startswith(STUDIES[name][1])}
    runs = len(json.loads((Path(sweep) / "sweep.json").read_text())["jobs"])
    words = ("nat of initial gap", "gamma", "AICc", "Timing", "baseline", "order-free")
    return {"runs": runs, "tables": kept, "said": [line for line in said.splitlines() if any(w in line for w in words)]}


def call(command: list[str]) -> tuple[str, str]:
    """The last line of standard output, and standard error."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1], done.stderr


def page(found: dict[str, dict]) -> str:
    """What was found, as Markdown."""
    parts = [
        "# Predictions of the theory\n\n`python benchmarks/predictions.py`: sweeps of the embedded default, held out, "
        "1,024 problems x 8 samples unless the table says otherwise. What each interval is of: "
        "[statistics.md](../../docs/statistics.md).\n"
    ]
    for name, study in found.items():
        title = STUDIES[name][0]
        parts.append(f"## {title}\n\n`experiment={name}`, {study['runs']} runs\n")
        parts += [f"{table}" for table in study["tables"].values()]
        parts.append("".join(f"- {line}\n" for line in study["said"]))
    return "\n".join(parts)


if __name__ == "__main__":
    main()
