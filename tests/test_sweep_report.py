"""The tests behind the paper's tables, on data whose answer is known, and the report of a real small sweep."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import run_command

from sivgap.report.cross_tables import cross_groups, pairs_table, paper_table, solver_ends
from sivgap.report.paired import difference, spread_interval
from sivgap.report.sweep_record import read_sweep


def accuracies(rng, seeds: int, prompts: int, effect: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Two settings that differ by `effect`, by noise of training (seed), and by noise of the panel (prompt)."""
    difficulty = rng.uniform(size=prompts)
    trained = rng.normal(0, 0.01, (2, seeds, 1)) + np.array([effect, 0.0])[:, None, None]
    taste = rng.normal(0, 0.1, (2, 1, prompts))
    chance = np.clip(difficulty + trained + taste, 0, 1)
    first, second = rng.binomial(8, chance) / 8
    return first, second


def test_the_interval_of_a_difference_holds_it_and_is_not_wild():
    rng = np.random.default_rng(0)
    inside, wide = [], []
    for _ in range(400):
        found = difference(*accuracies(rng, 3, 300))
        inside.append(found.low <= 0 <= found.high)
        wide.append(found.high - found.low)
    assert 0.88 <= np.mean(inside) <= 0.99
    assert np.median(wide) < 0.08


def test_equivalence_is_found_where_it_is_and_not_where_it_is_not():
    rng = np.random.default_rng(1)
    same = [difference(*accuracies(rng, 5, 2000)).equivalent(0.04) < 0.05 for _ in range(100)]
    apart = [difference(*accuracies(rng, 5, 2000, effect=0.05)).equivalent(0.04) < 0.05 for _ in range(200)]
    assert np.mean(same) > 0.7
    assert np.mean(apart) <= 0.05
    few = difference(*accuracies(rng, 2, 20))
    assert few.p_value > 0.05
    assert few.equivalent(0.02) > 0.05  # not significant, and not equivalent either
    assert few.equivalent(few.margin) == pytest.approx(0.05, abs=1e-6)


def test_equal_settings_differ_by_nothing_and_swapping_changes_the_sign():
    rng = np.random.default_rng(2)
    a, b = accuracies(rng, 3, 50)
    assert difference(a, a).value == 0
    assert difference(a, a).p_value == pytest.approx(1)
    there, back = difference(a, b), difference(b, a)
    assert (there.value, there.low, there.p_value) == pytest.approx((-back.value, -back.high, back.p_value))
    low, high = spread_interval(np.stack([a, a, a]))
    assert low == high == 0


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("table1")
    done = run_command(
        folder, "train", "-m", "experiment=smoke", "seed=0,1", "epochs=2", "cross.epochs=2",
        "cross.strategy=none,early,late", "tracking.wandb.mode=disabled", "engine.threads=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Table 1" in done.stderr
    return folder / done.stdout.splitlines()[-1]


def test_the_papers_sweep_goes_by_its_name(command):
    done = command("train", "-m", "experiment=table2", "n=0")  # wrong, so that nothing starts
    assert done.returncode == 2
    assert "strategy=none seed=0: n:" in done.stderr


def test_the_tables_are_those_of_the_runs(sweep):
    (group,) = cross_groups(read_sweep(sweep))
    assert list(group.runs) == ["none", "early", "late"]
    table = paper_table([group], "solver")[1].set_index("")["held out"]
    ends = {
        name: [100 * record.of("test")[-1]["pass_at_k"]["1"] for record in records]
        for name, records in group.runs.items()
    }
    for name, row in (("none", "Baseline (no external data)"), ("early", "Early"), ("late", "Late")):
        found = [float(part) for part in table[row].split(" ± ")]
        assert found == pytest.approx([np.mean(ends[name]), np.std(ends[name], ddof=1)], abs=0.006)
    average = np.mean([ends["early"], ends["late"]])
    assert float(table["Avg vs Baseline"]) == pytest.approx(average - np.mean(ends["none"]), abs=0.006)
    verifier = paper_table([group], "verifier")[1].set_index("")["training"]
    given = [100 * record.of("train")[0]["verifier_accuracy_given"] for record in group.runs["early"]]
    initial = [100 * record.of("train")[0]["verifier_accuracy"] for record in group.runs["none"]]
    assert float(verifier["Early(0) vs Initial"]) == pytest.approx(np.mean(given) - np.mean(initial), abs=0.006)
    pairs = pairs_table(group, solver_ends(group), 0.02)
    assert list(pairs["strategies"]) == [
        "early - none",
        "late - none",
        "early - late",
    ]


def test_the_report_holds_tables_findings_and_every_run(sweep):
    page = (sweep / "report.html").read_text()
    for words in (
        "Table 1: solver accuracy",
        "Table 2: verifier accuracy",
        "Findings",
        "6 of 6 jobs complete",
        "gamma",
    ):
        assert words in page
    assert len(re.findall(r'class="chart"', page)) == 4
    for name in ("table1", "table2", "pairs", "cross_fit", "predictions", "settings", "runs"):
        assert len(pd.read_csv(sweep / "tables" / f"{name}.csv")) > 1
        assert (sweep / "tables" / f"{name}.md").is_file()
    for suffix in ("png", "pdf"):
        assert (sweep / "figures" / f"cross.{suffix}").stat().st_size > 10_000
    jobs = json.loads((sweep / "sweep.json").read_text())["jobs"]
    assert [job["name"] for job in jobs][:2] == ["seed=0 strategy=none", "seed=0 strategy=early"]
