"""Several evaluations side by side, on made-up directories whose numbers are known."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from sivgap.report.evaluations import report_evaluations
from sivgap.report.words import CONSTANT, NOTHING_KEPT, rests_on

PROMPTS, SAMPLES = 40, 8


def write(folder: Path, generator: str, size: float, scores, correct, judge=None, verifier="mc", nll=None) -> Path:
    """An evaluation as `sivgap.evaluate` leaves it, with the columns that its report reads."""
    where = folder / f"evaluate-{generator}-{verifier}-{judge or 'own'}"
    where.mkdir(parents=True)
    config = {
        "model": {"name": generator, "parameters": size, "tokens": 1e9},
        "dataset": {"name": "arithmetic"},
        "verifier": {
            "name": verifier, "readout": "sampled", "pairing": "elimination", "members": [],
            "model": {"path": None if judge is None else f"models/{judge}"},
        },
        "weight": {"kind": "threshold", "tau": 0.5, "empty": "all", "saturated": "drop"},
        "pass_at": [1, 8], "seed": 0, "n": SAMPLES,
    }  # fmt: skip
    (where / "config.yaml").write_text(yaml.safe_dump(config))
    (where / "status.json").write_text(json.dumps({"state": "complete"}))
    pd.DataFrame(
        {
            "problem_id": np.repeat([f"p{i}" for i in range(PROMPTS)], SAMPLES),
            "sample": np.tile(np.arange(SAMPLES), PROMPTS),
            "answer": "1",
            "correct": correct.ravel(),
            "correct_strict": correct.ravel(),
            "nll": 1.0 if nll is None else nll.ravel(),
            "length": 5,
            "finished": True,
            "score": scores.ravel(),
            "unparsed": 0.0,
        }
    ).to_parquet(where / "scores.parquet")
    return where


def knowing(correct: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Scores of a verifier that sees the truth of a share of the responses, and guesses the rest."""
    sees = rng.random(correct.shape) < share
    return np.where(sees, correct, rng.integers(0, 2, correct.shape)).astype(float)


def tables(report: Path) -> dict[str, pd.DataFrame]:
    return {p.stem: pd.read_csv(p) for p in (report.parent / "tables").glob("*.csv")}


def test_a_gap_that_rises_with_size_has_a_slope_above_zero(tmp_path):
    rng = np.random.default_rng(0)
    correct = (rng.random((PROMPTS, SAMPLES)) < 0.5).astype(float)
    folders = [write(tmp_path, f"model_{k}", 10.0**k, knowing(correct, 0.25 * k, rng), correct) for k in range(1, 5)]
    report = report_evaluations(folders, tmp_path / "report")
    found = tables(report)
    line = found["relative_gap_over_pre_training_flops__6nd"].iloc[0]
    assert line["models"] == 4
    assert line["slope"] > 0.1
    assert line["slope_low"] < line["slope"] < line["slope_high"]
    points = found["relative_gap_of_each_model"]
    assert points["flops"].tolist() == pytest.approx([6 * 10.0**k * 1e9 for k in range(1, 5)])
    assert points["gv_gap_relative"].is_monotonic_increasing
    assert (tmp_path / "report" / "figures" / "scaling.png").stat().st_size > 0
    assert "<script>alert" not in report.read_text()


def test_the_grid_has_every_generator_under_every_judge(tmp_path):
    rng = np.random.default_rng(1)
    folders = []
    for generator in ("small", "large"):
        correct = (rng.random((PROMPTS, SAMPLES)) < 0.5).astype(float)
        for judge, share in (("small", 0.1), ("large", 0.9)):
            scores = knowing(correct, share, rng)
            folders.append(write(tmp_path, generator, 1e6 * (generator == "large") + 1e6, scores, correct, judge))
    found = tables(report_evaluations(folders, tmp_path / "report"))
    (name,) = (n for n in found if n.startswith("cross_verification__gap_of_each"))
    grid = found[name].set_index("generator")
    assert list(grid.columns) == ["small", "large"]
    assert (grid["large"] > grid["small"] + 0.1).all()
    assert (tmp_path / "report" / "figures" / "cross_verification.png").exists()


def test_what_else_evaluations_differ_in_has_a_column_and_one_model_alone_has_no_scaling(tmp_path):
    rng = np.random.default_rng(4)
    correct = (rng.random((PROMPTS, SAMPLES)) < 0.5).astype(float)
    folders = []
    for temperature in (0.5, 0.7, 1.0):
        folder = write(tmp_path / str(temperature), "one", 1e6, knowing(correct, 0.5, rng), correct)
        config = yaml.safe_load((folder / "config.yaml").read_text())
        (folder / "config.yaml").write_text(yaml.safe_dump({**config, "sampling": {"solver_temperature": temperature}}))
        folders.append(folder)
    found = tables(report_evaluations(folders, tmp_path / "report"))
    assert sorted(found["evaluations"]["solver_temperature"]) == [0.5, 0.7, 1.0]
    assert "seed" not in found["evaluations"]
    assert not [name for name in found if name.startswith("relative_gap")]


def test_what_matters_stands_left_and_evaluations_are_told_apart_by_what_differs(tmp_path):
    rng = np.random.default_rng(5)
    correct = (rng.random((PROMPTS, SAMPLES)) < 0.5).astype(float)
    folders = [
        write(tmp_path / "0", "custom", 1e6, knowing(correct, 0.5, rng), correct, verifier="mc"),
        write(tmp_path / "1", "custom", 1e6, np.ones_like(correct), correct, verifier="qe"),
        write(tmp_path / "2", "custom", 1e6, knowing(correct, 0.5, rng) * 0.4, correct, verifier="tf"),
    ]
    for folder, model in zip(folders, ("small", "large", "large"), strict=True):
        config = yaml.safe_load((folder / "config.yaml").read_text())
        config["model"]["path"] = f"models/{model}"
        config["sampling"] = {"max_new_tokens": 100 if model == "small" else 200}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
    page = report_evaluations(folders, tmp_path / "report").read_text()
    numbers = tables(tmp_path / "report" / "report.html")["evaluations"]
    assert sorted(numbers["generator"]) == ["large", "large", "small"]
    assert sorted(numbers["max_new_tokens"]) == [100, 200, 200]
    assert set(numbers["name"]) == {"small, mc (sampled)", "large, qe", "large, tf"}
    assert re.search(r"<td>0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]</td>", page)  # the gap of the first, with its interval
    header = re.findall(r"<th>(.*?)</th>", page[page.index("<h2>Evaluations</h2>") :])[:9]
    assert header == ["", "accuracy, all N [90 %]", "gap", "relative gap, aggregate", "relative gap, mean over prompts",
                      "AUROC within prompts", "AUROC, pooled", "unparsed", "kept"]  # fmt: skip
    assert CONSTANT in page
    assert NOTHING_KEPT in page


def test_an_auroc_that_rests_on_few_responses_says_on_how_many():
    assert rests_on(np.r_[np.ones(1), np.zeros(31)]) == "rests on 1 right response"
    assert rests_on(np.r_[np.ones(60), np.zeros(9)]) == "rests on 9 wrong responses"
    assert rests_on(np.r_[np.ones(10), np.zeros(10)]) == ""


def test_every_table_has_a_file_of_its_own_however_long_its_title(tmp_path):
    rng = np.random.default_rng(3)
    correct = (rng.random((PROMPTS, SAMPLES)) < 0.5).astype(float)
    nll, folders = rng.random((PROMPTS, SAMPLES)), []
    for seed, generator in enumerate(("x" * 150 + "a", "x" * 150 + "b")):
        for verifier in ("mc", "tf"):
            scores = knowing(correct, 0.5, rng)
            folders.append(write(tmp_path, generator, 1e6, scores, correct, verifier=verifier, nll=nll + seed))
    found = [n for n in tables(report_evaluations(folders, tmp_path / "report")) if n.startswith("correlation_of_sc")]
    assert len(found) == 2
    assert max(map(len, found)) <= 120


def test_verifiers_of_the_same_responses_are_correlated_and_joined_and_others_are_not(tmp_path):
    rng = np.random.default_rng(2)
    correct = (rng.random((PROMPTS, SAMPLES)) < 0.5).astype(float)
    nll = rng.random((PROMPTS, SAMPLES))
    scores = knowing(correct, 0.5, rng)
    same = [write(tmp_path, "one", 1e6, s, correct, verifier=v, nll=nll) for v, s in (("mc", scores), ("tf", scores))]
    found = tables(report_evaluations(same, tmp_path / "report"))
    (correlation,) = (t for n, t in found.items() if n.startswith("correlation_of_scores"))
    assert correlation["pearson"].tolist() == pytest.approx([1.0])
    (ensembles,) = (t for n, t in found.items() if n.startswith("ensembles"))
    assert ensembles["gv_gap"].nunique() == 1  # demanding both of two verifiers that agree is demanding one
    other = write(tmp_path, "one", 1e6, scores, correct, verifier="cot_binary", nll=nll + 1)
    found = tables(report_evaluations([same[0], other], tmp_path / "apart"))
    assert not [n for n in found if n.startswith("correlation")]
