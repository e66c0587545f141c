"""External data: when it is given, where it comes from, what it does to a run; and the paper's tables."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import run_command
from local_models import save_model
from omegaconf import OmegaConf

from sivgap.config.allocation import planned
from sivgap.config.cross import CrossConfig
from sivgap.config.schema import TrainConfig
from sivgap.core.problem import Problem
from sivgap.cross.external import make_timetable
from sivgap.report.cross_tables import cross_groups, pairs_table, paper_table, solver_ends
from sivgap.report.sweep_record import read_sweep

SMALL = ("experiment=smoke", "tracking.wandb.mode=disabled", "epochs=2", "cross.epochs=2", "engine.threads=1")


def problems(count: int) -> list[Problem]:
    return [Problem(f"p{i}", f"{i}", "0", "x") for i in range(count)]


def timetable(count: int = 100, seed: int = 0, epochs: float = 10, **cross):
    config = TrainConfig.model_construct(seed=seed, epochs=epochs, cross=CrossConfig(**cross))
    return make_timetable(config, problems(count))


@pytest.mark.parametrize("budget", [0.25, 25])
def test_the_strategies_give_when_the_paper_says(budget):
    shares = {}
    for strategy in ("early", "uniform", "late"):
        table = timetable(strategy=strategy, budget=budget)
        shares[strategy] = [table.share(epoch) for epoch in range(11)]
    assert shares["early"] == [0] + 10 * [0.25]
    assert shares["late"] == 8 * [0] + 3 * [0.25]
    assert shares["uniform"] == pytest.approx([*np.arange(9) / 8 * 0.25, 0.25, 0.25], abs=0.0051)


def test_chosen_prompts_are_nested_and_the_same_for_every_strategy():
    final = [set(timetable(strategy=s).arrival) for s in ("early", "uniform", "late")]
    assert final[0] == final[1] == final[2]
    assert set(timetable(strategy="late", budget=0.1).arrival) < final[0]
    assert set(timetable(strategy="late", seed=1).arrival) != final[0]
    uniform = timetable(strategy="uniform")
    assert all(uniform.given(epoch) <= uniform.given(epoch + 0.5) for epoch in np.arange(0, 10, 0.5))
    assert uniform.given(0) == set()


def test_a_custom_schedule_is_kept_and_one_of_allocate_is_read(tmp_path):
    table = timetable(strategy="custom", budget=0.3, schedule=[0.2, 0.0, 0.1])
    assert [round(table.share(epoch), 2) for epoch in range(4)] == [0, 0.2, 0.2, 0.3]
    plans = {"plans": [{"name": "early", "eta": [0.3, 0]}, {"name": "best", "eta": [0.1, 0.2]}]}
    (tmp_path / "allocation.json").write_text(json.dumps(plans))
    cross = CrossConfig(strategy="custom", budget=0.3, schedule=str(tmp_path / "allocation.json"))
    assert planned(cross, 4) == pytest.approx((0.1, 0.2, 0, 0))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["cross.strategy=late", "cross.epochs=9"], "cross.epochs"),
        (["cross.strategy=early", "cross.budget=4000"], "training set has"),
        (["cross.strategy=early", "cross.budget=0.00001"], "not one prompt"),
        (["cross.strategy=early", "cross.budget=1.5"], "whole number"),
        (["cross.strategy=custom"], "cross.schedule"),
        (["cross.strategy=custom", "cross.schedule=[0.1,0.1]"], "adds up to 0.2, cross.budget is 0.25"),
        (["cross.strategy=custom", "cross.schedule=[0,0,0,0,0,0,0.25]"], "epoch 7"),
        (["cross.strategy=custom", "cross.schedule=absent.json"], "absent.json"),
        (["cross.strategy=early", "cross.source=file"], "cross.file"),
        (["cross.strategy=early", "cross.source=api", "cross.api.model=m"], "input_price"),
        (["cross.strategy=early", "measure.every=2"], "measure.every"),
        (["cross.strategy=erly"], "did you mean 'early'"),
    ],
)
def test_what_cannot_be_given_is_status_2(command, overrides, said):
    done = command("train", *overrides)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Path:
    """A small sweep of three strategies and two seeds."""
    folder = tmp_path_factory.mktemp("cross")
    done = run_command(folder, "train", "-m", *SMALL, "seed=0,1", "cross.strategy=none,early,late")
    assert done.returncode == 0, done.stderr
    assert "Table 1" in done.stderr
    return folder / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def runs(sweep) -> dict[str, Path]:
    """Its runs of the first seed, by strategy."""
    jobs = [job for job in json.loads((sweep / "sweep.json").read_text())["jobs"] if "seed=0" in job["name"]]
    return {job["name"].removeprefix("seed=0 strategy="): sweep.parent / job["run"] for job in jobs}


def lines(run: Path, split: str) -> pd.DataFrame:
    frame = pd.read_json(run / "trajectory.jsonl", lines=True)
    return frame[frame["split"] == split].set_index("epoch")


def test_a_run_is_the_run_without_data_until_they_come(runs):
    columns = ["solver_uncertainty", "verifier_uncertainty", "solver_accuracy", "verifier_accuracy", "score_mean"]
    for split in ("train", "test"):
        none, early, late = (lines(runs[s], split)[columns] for s in ("none", "early", "late"))
        assert early.loc[0].equals(none.loc[0])
        assert late.loc[:1.0].equals(none.loc[:1.0])
        assert not early.loc[0.5].equals(none.loc[0.5])
        assert not late.loc[1.5:].equals(none.loc[1.5:])


def test_eta_is_logged_with_the_measurement_after_it_came(runs):
    for split in ("train", "test"):
        assert lines(runs["early"], split)["external_new"].tolist() == [0, 0.25, 0, 0, 0]
        assert lines(runs["late"], split)["external_new"].tolist() == [0, 0, 0, 0.25, 0]
        assert lines(runs["late"], split)["external_total"].tolist() == [0, 0, 0, 0.25, 0.25]


def test_an_external_response_is_the_verifiers_choice_from_then_on(runs):
    late = runs["late"]
    external = {json.loads(line)["problem_id"] for line in (late / "external.jsonl").read_text().splitlines()}
    for epoch in (0.5, 1.0, 1.5, 2.0):
        rows = pd.read_parquet(late / "samples" / f"epoch=00{epoch:.2f}.parquet")
        rows = rows[rows["split"] == "train"]
        assert (rows.groupby("problem_id")["selected"].sum() == 1).all()
        outside = rows[rows["sample"] < 0]
        assert set(outside["problem_id"]) == (set() if epoch < 1 else external & set(rows["problem_id"]))
        assert (outside["selected"] == (epoch > 1)).all()
        assert outside["correct"].all()
        line = lines(late, "train").loc[epoch]
        assert rows[rows["selected"]]["nll"].mean() == pytest.approx(line["verifier_uncertainty"], rel=1e-9)
        if epoch == 1.0:  # measured again as the data find it
            chosen = rows[rows["selected"] & ~rows["problem_id"].isin(external)]
            both = pd.concat([chosen, outside])
            assert both["nll"].mean() == pytest.approx(line["verifier_uncertainty_given"], rel=1e-9)
            assert both["correct"].mean() == pytest.approx(line["verifier_accuracy_given"], rel=1e-9)
    assert lines(late, "test")["verifier_uncertainty_given"].isna().all()


def test_a_response_of_the_models_own_has_the_likelihood_that_sampling_gave_it(runs):
    """The teacher-forced pass agrees with the sampling pass: sample -1 of a text that the model drew itself."""
    rows = pd.read_parquet(runs["early"] / "samples" / "epoch=000.50.parquet")
    rows = rows[rows["split"] == "train"]
    drawn = rows[rows["sample"] >= 0].set_index(["problem_id", "text"])["nll"]
    same = [
        (row.nll, np.atleast_1d(drawn.loc[(row.problem_id, row.text)])[0])
        for row in rows[rows["sample"] < 0].itertuples()
        if (row.problem_id, row.text) in drawn.index
    ]
    assert len(same) >= 2
    assert [a for a, _ in same] == pytest.approx([b for _, b in same], abs=2e-5)


def test_responses_come_from_a_file_by_id_or_question(command, tmp_path, runs):
    given = [json.loads(line) for line in (runs["early"] / "external.jsonl").read_text().splitlines()]
    by_id = [{"id": r["problem_id"], "response": r["text"]} for r in given[::2]]
    by_question = [{"question": r["problem_id"].removeprefix("train/"), "response": r["text"]} for r in given[1::2]]
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in [*by_id, *by_question]))
    arguments = (*SMALL, "cross.strategy=early", "cross.source=file", f"cross.file={path}")
    done = command("train", *arguments)
    assert done.returncode == 0, done.stderr
    mine, reference = (tmp_path / done.stdout.splitlines()[-1]), runs["early"]
    assert (mine / "external.jsonl").read_text() == (reference / "external.jsonl").read_text()
    kept = [c for c in lines(mine, "test") if not c.startswith("seconds") and c != "pass_at_k"]
    assert lines(mine, "test")[kept].equals(lines(reference, "test")[kept])
    path.write_text("".join(json.dumps(record) + "\n" for record in by_id))
    done = command("train", *arguments)
    assert done.returncode == 1
    assert "no response for" in done.stderr


def test_responses_come_from_a_second_model(command, tmp_path):
    other = save_model(tmp_path / "stronger", "llama")
    student = save_model(tmp_path / "student", "qwen2")
    done = command(
        "train", *SMALL, "epochs=1", "cross.strategy=early", "cross.epochs=1", "cross.source=model",
        f"cross.model.path={other}", "model=custom", f"model.path={student}", "n=2", "sampling.max_new_tokens=12",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = tmp_path / done.stdout.splitlines()[-1]
    given = [json.loads(line) for line in (run / "external.jsonl").read_text().splitlines()]
    assert len(given) == 16
    assert not all(record["finished"] for record in given)
    assert OmegaConf.load(run / "config.yaml").cross.model.path == str(other)


def test_what_the_tokenizer_cannot_write_is_said(command, tmp_path, runs):
    given = [json.loads(line) for line in (runs["early"] / "external.jsonl").read_text().splitlines()]
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps({"id": r["problem_id"], "response": "Élan"}) + "\n" for r in given))
    done = command("train", *SMALL, "cross.strategy=early", "cross.source=file", f"cross.file={path}")
    assert done.returncode == 1
    assert "no tokens for its external response" in done.stderr


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
