"""Shared by the studies: run a configuration as a user would, and read back what it measured."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from sivgap.dynamics.fit import CoupledFit
from sivgap.report.summary import fit_if_possible

RESULTS = Path(__file__).parent / "results"


def run(*overrides: str, runs_dir: str = "runs") -> Path:
    """``python -m sivgap.train OVERRIDES``; its directory. A finished run is found, not repeated."""
    command = [sys.executable, "-m", "sivgap.train", f"runs_dir={runs_dir}", "tracking.wandb.mode=disabled", *overrides]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.splitlines()[-1])


def kept(record: Path) -> list[dict]:
    """The rows of an earlier attempt, with which a benchmark goes on."""
    return [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []


def keep(record: Path, row: dict) -> None:
    with record.open("a") as file:
        file.write(json.dumps(row) + "\n")


def publish(name: str, text: str, found: object) -> None:
    """Write what was found as results/NAME.json, and what is said of it as NAME.md; and say it."""
    (RESULTS / f"{name}.md").write_text(text)
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")
    print(text)


def held_out(path: Path) -> list[dict]:
    """The lines of the held-out panel."""
    lines = [json.loads(line) for line in (path / "trajectory.jsonl").read_text().splitlines()]
    return [line for line in lines if line["split"] == "test"]


def fitted(lines: list[dict]) -> CoupledFit | None:
    """The joint fit of solver and verifier with one rate."""
    return fit_if_possible(lines, "held out")


def seconds(path: Path) -> float:
    return float(json.loads((path / "status.json").read_text())["seconds"])


def mean_and_deviation(values: list[float], digits: int = 3) -> str:
    array = np.array(values)
    if len(array) == 1:
        return f"{array[0]:.{digits}f}"
    return f"{array.mean():.{digits}f} ± {array.std(ddof=1):.{digits}f}"
