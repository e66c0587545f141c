"""Do intervals and tests hold? Coverage of 90 % intervals and levels of 5 % tests where the truth is known.

    python benchmarks/inference_study.py [--quick] [--part dynamics] [--run RUN_DIRECTORY] [--logged CURVES.csv]

Each part is a module of benchmarks/inference with a function `study` that returns tables of rows by name. `--run` is a
run of the embedded default, whose prompts stand for a population; `--logged` a table of curves of other people's runs.
Writes benchmarks/results/inference_study.md and .json; a part alone leaves the tables of the others as they were.
"""

import argparse
import importlib
import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
from study import RESULTS

from sivgap.report.tables import cells, markdown

PARTS = sorted(
    path.stem for path in (Path(__file__).parent / "inference").glob("*.py") if "def study(" in path.read_text()
)


def tables_of(part: str, a: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    study = importlib.import_module(f"inference.{part}").study
    found = study(a.quick, a.run, a.logged, a.scale) if part == "dynamics" else study(a.quick)
    return {name: [{key: _plain(value) for key, value in row.items()} for row in rows] for name, rows in found.items()}


def _plain(value: Any) -> Any:
    """Of numpy's numbers, Python's."""
    return value.item() if hasattr(value, "item") else value


def page(found: dict[str, dict[str, list[dict[str, Any]]]]) -> str:
    text = "# Do intervals and tests hold?\n\n"
    text += "Share of runs in which a 90 % interval held the truth, or a test at 5 % rejected.\n"
    for part, tables in found.items():
        text += f"\n## {part}\n"
        for name, rows in tables.items():
            frame = pd.DataFrame(rows).round(3)
            text += f"\n### {name}\n\n{markdown(list(frame.columns), cells(frame))}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of simulated runs (dynamics)")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--logged", type=Path)
    a = parser.parse_args()
    record = RESULTS / "inference_study.json"
    found = json.loads(record.read_text()) if a.part and record.is_file() else {}
    for part in [a.part] if a.part else PARTS:
        started = time.process_time()
        found[part] = tables_of(part, a)
        print(f"{part}: {time.process_time() - started:.0f} s of processor time")
    if a.quick:
        print(page(found))
        return
    RESULTS.mkdir(exist_ok=True)
    record.write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "inference_study.md").write_text(page(found))
    print(page(found))


if __name__ == "__main__":
    main()
