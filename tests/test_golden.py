"""Numbers that must not change by themselves: small runs, evaluations, fits and grades, kept in tests/golden.

A change of the code that moves them on purpose writes them anew, `make golden NAMES=...`, and says why.
Runs are in float32 on one thread. Responses must be the same, numbers to `WITHIN` (a millionth of one step's rounding
grows over a run's steps, and processors round differently).
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from commands import run_command
from small_runs import TIMES, lines
from test_resume import attempt, config

from sivgap.runs.names import epoch_name
from sivgap.runtime.signals import StopRequest

GOLDEN = Path(__file__).parent / "golden"
WITHIN = 1e-4
TEXTS = 12
"""Responses kept of each measurement: whatever changes sampling changes some of the first."""
SHOWN = ("tokens",)
"""Keys beside the clock's that are not numbers of the method."""

RUNS = {
    "refresh_half_epoch": (),
    "refresh_epoch": ("refresh=epoch",),
    "refresh_step": ("refresh=step",),
    "refresh_never": ("refresh=never",),
    "full": ("update.parameters=full", "update.learning_rate=1e-4"),
    "rpo": ("update=rpo", "verifier=gold", "n=4"),
    "cross": ("cross.strategy=uniform", "cross.epochs=1", "cross.budget=0.5"),
}
SMALL = ("n=4", "panel.prompts=12", "engine.threads=1")
EVALUATIONS = {
    "evaluation_qe": ("verifier=qe", *SMALL),
    "evaluation_cot_score": ("model=tiny_l", "verifier=cot_score", "weight.kind=quantile", *SMALL),
}
CURVES = "".join(
    f"{t / 2},{0.5 + 1.4 * 0.7**t + 0.01 * (t % 3 - 1)},{0.15 + 0.75 * 0.7**t + 0.01 * ((t + 1) % 3 - 1)}\n"
    for t in range(13)
)
ANSWERS = [
    ("18", r"3 + 15 = 18. The answer is \boxed{18}."), ("18", "#### 18"), ("18", "It is 81."), ("1/2", "Answer: 0.5"),
    ("1,000", "The answer is 1000 dollars."), ("7", "<think>8</think> 7"), ("3", ""),
]  # fmt: skip


def run(name: str, folder: Path) -> dict[str, Any]:
    """The trajectory and the first responses of a run."""
    settings = config(folder, "engine.threads=1", *RUNS[name])
    assert settings.model.dtype == "float32"
    assert attempt(settings, StopRequest())[0]
    (path,) = (p for p in folder.iterdir() if p.name.startswith("tiny"))
    found = lines(path)
    frame = pd.read_parquet(path / "samples" / f"{epoch_name(max(line['epoch'] for line in found))}.parquet")
    return {
        "trajectory": [{k: v for k, v in line.items() if k not in (*TIMES, *SHOWN)} for line in found],
        "responses": frame["text"].head(TEXTS).tolist(),
    }


def evaluation(name: str, folder: Path) -> dict[str, Any]:
    """What ``evaluation.json`` says, and the first responses."""
    done = run_command(folder, "evaluate", *EVALUATIONS[name])
    assert done.returncode == 0, done.stderr[-2000:]
    path = folder / done.stdout.splitlines()[-1]
    path = path if path.is_dir() else path.parent
    texts = pd.read_parquet(path / "scores.parquet")
    return {
        "evaluation": json.loads((path / "evaluation.json").read_text()),
        "scores": texts["score"].head(TEXTS).tolist(),
    }


def fit(name: str, folder: Path) -> dict[str, Any]:
    """``fit.json`` of a table of curves."""
    (folder / "curves.csv").write_text("epoch,solver_uncertainty,verifier_uncertainty\n" + CURVES)
    done = run_command(
        folder, "fit", "csv=curves.csv", "bootstrap=50", *(["weights=huber"] if name == "fit_huber" else [])
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((folder / done.stdout.splitlines()[-1]).read_text())


def grades(name: str, folder: Path) -> dict[str, Any]:
    """A graded file."""
    (folder / "in.jsonl").write_text(
        "".join(json.dumps({"reference": gold, "response": text}) + "\n" for gold, text in ANSWERS)
    )
    done = run_command(folder, "grade", "file=in.jsonl", "out=out.jsonl", "dataset=gsm8k")
    assert done.returncode == 0, done.stderr[-2000:]
    return {"lines": [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]}


MAKERS = {
    **dict.fromkeys(RUNS, run), **dict.fromkeys(EVALUATIONS, evaluation), **dict.fromkeys(("fit", "fit_huber"), fit),
    "grades": grades,
}  # fmt: skip


def differences(found: Any, kept: Any, where: str = "") -> list[str]:
    """Where two records differ by more than `WITHIN`."""
    if isinstance(kept, dict) and isinstance(found, dict):
        keys = sorted(found.keys() | kept.keys())
        missing = [f"{where}.{key} is only in one" for key in keys if (key in found) != (key in kept)]
        both = [key for key in keys if key in found and key in kept]
        return missing + [d for key in both for d in differences(found[key], kept[key], f"{where}.{key}")]
    if isinstance(kept, list) and isinstance(found, list) and len(found) == len(kept):
        return [d for i, (x, y) in enumerate(zip(found, kept, strict=True)) for d in differences(x, y, f"{where}[{i}]")]
    if isinstance(kept, float) and isinstance(found, int | float):
        same = found == pytest.approx(kept, rel=WITHIN, abs=WITHIN)
    else:
        same = found == kept
    return [] if same else [f"{where}: {found!r}, kept {kept!r}"]


@pytest.mark.parametrize("name", MAKERS)
def test_what_was_kept_is_found_again(name, tmp_path):
    kept = json.loads((GOLDEN / f"{name}.json").read_text())
    found = json.loads(json.dumps(MAKERS[name](name, tmp_path)))
    assert differences(found, kept) == []


def test_a_difference_is_found_where_it_is():
    kept = {"a": [1.0, {"b": "x"}], "c": None}
    assert differences({"a": [1.00001, {"b": "x"}], "c": None}, kept) == []
    assert differences({"a": [1.001, {"b": "y"}], "d": None}, kept) == [
        ".c is only in one", ".d is only in one", ".a[0]: 1.001, kept 1.0", ".a[1].b: 'y', kept 'x'",
    ]  # fmt: skip


if __name__ == "__main__":
    for name in sys.argv[1:] or MAKERS:
        with tempfile.TemporaryDirectory() as folder:
            record = MAKERS[name](name, Path(folder))
        GOLDEN.mkdir(exist_ok=True)
        (GOLDEN / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
        print(GOLDEN / f"{name}.json")
