"""Round by round: made-up runs whose gaps and pass@k are known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sivgap.report.record import Record
from sivgap.report.rounds import pass_at_k_table, read_rounds, rounds_table, sentences
from sivgap.report.rounds_figure import draw_rounds

PROMPTS, SAMPLES = 50, 8


def samples(correct: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "problem_id": np.repeat([f"p{i:02d}" for i in range(PROMPTS)], SAMPLES),
            "sample": np.tile(np.arange(SAMPLES), PROMPTS),
            "correct": correct.ravel(),
        }
    )


def run(gaps: list[float], first: np.ndarray, last: np.ndarray, error: float = 0.01) -> Record:
    lines = [
        {
            "epoch": float(t), "split": "test", "n_prompts": PROMPTS, "gv_gap": gap, "gv_gap_se": error,
            "gv_gap_relative": 2 * gap, "solver_accuracy": 0.5, "verifier_accuracy": 0.5 + gap,
            "pass_at_k": {"1": 0.5},
        }
        for t, gap in enumerate(gaps)
    ]  # fmt: skip
    return Record(Path("run"), lines, {}, {"seed": 0}, {0.0: samples(first), float(len(gaps) - 1): samples(last)})


@pytest.fixture
def grids():
    """Half of every prompt's responses right; and all of half the prompts': pass@1 the same, pass@8 halved."""
    spread, narrow = np.zeros((PROMPTS, SAMPLES)), np.zeros((PROMPTS, SAMPLES))
    spread[:, : SAMPLES // 2], narrow[: PROMPTS // 2] = 1, 1
    return spread, narrow


def test_the_gap_is_gone_from_the_round_after_the_last_one_that_was_open(grids):
    spread, _ = grids
    found = read_rounds(
        {
            "closes": [run([0.1, 0.05, 0.01, 0.03, 0.005], spread, spread)],
            "stays": [run([0.1, 0.1], spread, spread)],
            "none": [run([0.0, -0.01], spread, spread)],
        }
    )
    assert [each.saturated for each in found.values()] == [4, None, 0]
    said = sentences(found)
    assert said[0].startswith("closes: the gap is gone from round 4 on; it was 0.100 and ends at 0.005")
    assert any(line.startswith("stays: the gap is still open after round 1") for line in said)
    table = rounds_table(found)
    assert len(table) == 9
    assert table["gap_low"].iloc[0] == pytest.approx(0.1 - 0.01 * 1.6766, abs=1e-4)  # Student's t, 49 degrees


def test_errors_of_seeds_add_to_those_of_the_prompts_that_they_share(grids):
    spread, _ = grids
    runs = [run([gap], spread, spread, error=0.02) for gap in (0.1, 0.2, 0.3)]
    (gap,) = read_rounds({"one": runs})["one"].gap
    assert gap.value == pytest.approx(0.2)
    assert gap.stderr == pytest.approx(np.sqrt(0.02**2 + 0.1**2 / 3))


def test_a_distribution_that_narrows_keeps_pass_at_1_and_loses_pass_at_k(grids, tmp_path):
    spread, narrow = grids
    found = read_rounds({"narrows": [run([0.1, 0.0], spread, narrow)] * 2})
    table = pass_at_k_table(found).set_index("k")
    assert table.loc[1, ["before", "after"]].tolist() == pytest.approx([0.5, 0.5])
    assert table.loc[8, ["before", "after"]].tolist() == pytest.approx([1.0, 0.5])
    assert table.loc[8, "high"] < 0 < table.loc[1, "high"]
    assert "narrows: pass@8 fell" in sentences(found)[-1]
    draw_rounds(found, "$ and text", tmp_path / "figures" / "rounds.png")
    assert (tmp_path / "figures" / "rounds.pdf").stat().st_size > 5_000


def test_without_samples_there_is_no_pass_at_k_and_the_gap_stands(grids):
    spread, _ = grids
    bare = run([0.1, 0.0], spread, spread)
    found = read_rounds({"bare": [Record(bare.path, bare.lines, {}, {"seed": 0}, {})]})
    assert pass_at_k_table(found).empty
    assert len(sentences(found)) == 1
