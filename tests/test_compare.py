"""Two runs beside each other: identities, differences that are put in, and what cannot be compared."""

import json

import numpy as np
import pandas as pd
import pytest

from sivgap.compare import named
from sivgap.errors import ConfigError, RunError
from sivgap.report.compare import compare, sentences
from sivgap.report.compare_sides import METRICS, Side, read_side


def side(name, shift=0.0, since=0.0, seed=0, prompts=300, epochs=(0.0, 0.5, 1.0, 1.5), kind="run", n=3):
    """A side whose solver accuracy is `shift` higher from epoch `since` on."""
    index = pd.Index([f"p{i}" for i in range(prompts)], name="problem_id")
    tables = {}
    for epoch in epochs:
        rng = np.random.default_rng([7, int(2 * epoch)])  # what both share
        own = np.random.default_rng([seed, int(2 * epoch)])
        columns = {metric: rng.random(prompts) + 0.01 * own.normal(size=prompts) for metric in METRICS}
        columns["solver_accuracy"] += shift * (epoch >= since)
        columns["verifier_accuracy"] = (np.random.default_rng(5).random(prompts) < 0.5).astype(float)
        tables[epoch] = pd.DataFrame(columns, index=index)
    return Side(name, kind, {"n": n, "model": {"name": "tiny"}, "seed": seed}, tables)


def test_a_run_against_itself_differs_by_nothing():
    found = compare(side("a"), side("a"))
    assert (found.differences["difference"] == 0).all()
    assert (found.won, found.lost, found.p_value) == ([], [], None)
    assert found.settings.empty
    assert all("not told apart" in text for text in sentences(found)[: len(METRICS)])


def test_swapping_changes_the_sign_and_nothing_else():
    there, back = compare(side("a"), side("b", 0.02, seed=1)), compare(side("b", 0.02, seed=1), side("a"))
    assert there.differences["difference"].to_numpy() == pytest.approx(-back.differences["difference"].to_numpy())
    assert there.differences["low"].to_numpy() == pytest.approx(-back.differences["high"].to_numpy())
    assert there.differences["p_holm"].to_numpy() == pytest.approx(back.differences["p_holm"].to_numpy())


def test_a_difference_is_found_where_it_begins():
    found = compare(side("a"), side("b", 0.02, since=1.0, seed=1, n=4))
    said = sentences(found)
    assert said[0].startswith("solver accuracy, all N: B is above A from epoch 1 on; +2.0")
    assert found.settings.to_dict("records") == [{"key": "n", "A": "3", "B": "4"}]  # a seed is no other setting
    passing = compare(side("a"), replace_epoch(side("b", seed=1), 0.5, 0.05))
    assert "told apart at epoch 0.5, not at the end" in sentences(passing)[0]


def replace_epoch(found, epoch, shift):
    table = found.prompts[epoch]
    found.prompts[epoch] = table.assign(solver_accuracy=table["solver_accuracy"] + shift)
    return found


def test_problems_won_and_lost_are_counted_and_weighed():
    a, b = side("a"), side("b")
    flipped = b.prompts[1.5]["verifier_accuracy"].copy()
    flipped.iloc[:20] = 1 - flipped.iloc[:20]
    b.prompts[1.5]["verifier_accuracy"] = flipped
    found = compare(a, b)
    assert len(found.won) + len(found.lost) == 20
    assert set(found.won) == set(flipped.index[:20][flipped.iloc[:20] == 1])


def test_what_cannot_be_paired_is_refused_and_what_is_left_out_is_said(tmp_path):
    with pytest.raises(ConfigError, match="expected two of one kind"):
        compare(side("a"), side("b", kind="evaluation"))
    with pytest.raises(RunError, match="any common epoch"):
        compare(side("a", epochs=(0.0,)), side("b", epochs=(1.0,)))
    other = side("b")
    for epoch, table in other.prompts.items():
        other.prompts[epoch] = table.rename(index=lambda name: f"other-{name}")
    with pytest.raises(RunError, match="0 problems in common of 300 and 300"):
        compare(side("a"), other)
    assert "100 problems that only A measured, and 0 that only B did" in " ".join(
        sentences(compare(side("a"), side("b", prompts=200)))
    )
    with pytest.raises(ConfigError, match="expected the directory of a run"):
        read_side(tmp_path, "test")


def test_two_bare_words_are_the_two_sides_whatever_their_names_hold():
    assert named(["runs/x", "runs/y=1", "out=here"]) == ["a='runs/x'", "b='runs/y=1'", "out=here"]
    assert named(["a=x", "b=y", "--cfg", "job"]) == ["a=x", "b=y", "--cfg", "job"]
    assert named(["it's", "b"]) == [r"a='it\'s'", "b='b'"]


def test_two_runs_become_a_page(undisturbed, command, tmp_path):
    jobs = json.loads((undisturbed / "sweep.json").read_text())["jobs"]
    a, b = (undisturbed.parent / job["run"] for job in jobs)
    done = command("compare", str(a), str(b))
    assert done.returncode == 0, done.stderr
    page = tmp_path / done.stdout.splitlines()[-1]
    text = page.read_text()
    assert "how other seeds would differ is not in the intervals" in text
    assert "won: B&#39;s chosen response, right, and A&#39;s" in text
    table = pd.read_csv(page.parent / "tables" / "differences.csv")
    assert set(table["metric"]) == set(METRICS)
    lines = [json.loads(line) for line in (b / "trajectory.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["split"] == "test"][-1]
    mine = table[(table["metric"] == "solver_uncertainty") & (table["epoch"] == last["epoch"])]
    assert mine["b"].item() == pytest.approx(last["solver_uncertainty_all"])
    wrong = command("compare", str(a), str(tmp_path))
    assert wrong.returncode == 2
