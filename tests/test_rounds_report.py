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


def run(gaps: list[float], first: np.ndarray, last: np.ndarray, error: float = 0.01, informative: int = 40) -> Record:
    lines = [
        {
            "epoch": float(t), "split": "test", "n_prompts": PROMPTS, "gv_gap": gap, "gv_gap_se": error,
            "gv_gap_aggregate_relative": 2 * gap, "gv_gap_relative": 3 * gap, "gv_gap_relative_se": error,
            "gv_gap_informative": informative, "saturated_fraction": 0.1,
            "solver_accuracy": 0.5, "verifier_accuracy": 0.5 + gap,
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


def test_the_gap_is_gone_from_the_round_from_which_on_it_is_shown_to_be_near_0(grids):
    spread, _ = grids
    found = read_rounds(
        {
            "closes": [run([0.1, 0.05, 0.01, 0.03, 0.005], spread, spread)],
            "stays": [run([0.1, 0.1], spread, spread)],
            "none": [run([0.0, -0.002], spread, spread)],
        }
    )
    assert [each.gone_from(0.022) for each in found.values()] == [4, None, 0]
    said = sentences(found, 0.022)
    assert said[0].startswith(
        "closes: the gap is gone from round 4 on, within 0.022 of 0 (equivalence test, 5 %); it was 0.100 and ends at "
        "0.005"
    )
    assert any(line.startswith("stays: the gap is still open after round 1") for line in said)
    assert any(line.startswith("none: there is no gap to begin with: within 0.022 of 0") for line in said)
    table = rounds_table(found)
    assert len(table) == 9
    assert table["gv_gap_low"].iloc[0] == pytest.approx(0.1 - 0.01 * 1.6766, abs=1e-4)  # Student's t, 49 degrees


def test_an_interval_that_holds_0_shows_no_end_of_the_gap(grids):
    spread, _ = grids
    wide = {"wide": [run([0.1, 0.02], spread, spread, error=0.03)]}
    (first, *_) = sentences(read_rounds(wide), 0.02)
    assert first == "wide: the gap after round 1, 0.020, is not told apart from 0 (at most 0.070)"
    few = {"few": [run([0.1, 0.0], spread, spread, error=0.001, informative=3)]}
    found = read_rounds(few)
    assert sentences(found, 0.02)[0].endswith("nothing is shown, too few informative prompts: 3")
    assert found["few"].gone_from(0.02) is None
    assert rounds_table(found)["gv_gap_low"].isna().all()


def test_a_gap_at_the_margin_is_called_gone_in_one_run_of_twenty(grids):
    spread, _ = grids
    rng = np.random.default_rng(6)
    gaps = 0.02 + 0.006 * rng.standard_normal(600)
    gone = [read_rounds({"one": [run([gap], spread, spread, error=0.006)]})["one"].gone_from(0.02) for gap in gaps]
    assert np.mean([end is not None for end in gone]) == pytest.approx(0.05, abs=0.025)


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
    assert table.loc[8, "change_high"] < 0 < table.loc[1, "change_high"]
    assert "narrows: pass@8 fell" in sentences(found, 0.02)[-1]
    draw_rounds(found, "$ and text", tmp_path / "figures" / "rounds.png")
    assert (tmp_path / "figures" / "rounds.pdf").stat().st_size > 5_000


def test_without_samples_there_is_no_pass_at_k_and_the_gap_stands(grids):
    spread, _ = grids
    bare = run([0.1, 0.0], spread, spread)
    found = read_rounds({"bare": [Record(bare.path, bare.lines, {}, {"seed": 0}, {})]})
    assert pass_at_k_table(found).empty
    assert len(sentences(found, 0.02)) == 1
