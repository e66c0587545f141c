"""Evaluation on the embedded model: what is paid once, what a number means, what a user sees."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import run_command
from hydra import compose, initialize_config_dir
from markupsafe import escape
from scipy.special import comb

from sivgap.config.app import validate
from sivgap.config.embedded import WEIGHTS
from sivgap.config.evaluation import EvaluateConfig
from sivgap.config.locate import conf_dir
from sivgap.evaluate import evaluate
from sivgap.report.evaluation import report_evaluation
from sivgap.report.evaluation_record import read_evaluation
from sivgap.runtime.display import Display

FEW = ("panel.prompts=24", "engine.threads=1")


def run(folder: Path, *overrides: str) -> Path:
    """One evaluation in this process; its directory."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        raw = compose("evaluate", [*FEW, f"runs_dir={folder}", *overrides])
    before = set(folder.glob("evaluate-*"))
    evaluate(validate(raw, EvaluateConfig))
    made = set(folder.glob("evaluate-*")) - before
    assert len(made) == 1
    return made.pop()


def generated(evaluation: Path) -> int:
    return json.loads((evaluation / "status.json").read_text())["tokens_generated"]


def texts(folder: Path) -> pd.DataFrame:
    (store,) = (folder / "store").iterdir()
    rows = pd.concat([pd.read_parquet(part) for part in store.glob("part-*.parquet")])
    assert not rows.duplicated(["prompt", "sample"]).any()
    return rows.sort_values(["problem_id", "sample"], ignore_index=True)[["problem_id", "sample", "text", "nll"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("evaluations")


@pytest.fixture(scope="module")
def by_qe(folder) -> Path:
    return run(folder, "n=4")


def test_the_numbers_are_those_of_the_responses(by_qe):
    said, found = json.loads((by_qe / "evaluation.json").read_text()), read_evaluation(by_qe)
    assert (said["prompts"], said["samples"]) == (24, 4)
    assert said["solver_accuracy"]["value"] == pytest.approx(found.correct.mean())
    assert said["solver_uncertainty"]["value"] == pytest.approx(found.nll.mean())
    kept = found.scores >= 0.5
    filtered = [u[k].mean() if k.any() else u.mean() for u, k in zip(found.correct, kept, strict=True)]
    assert said["gv_gap"]["value"] == pytest.approx(np.mean(filtered) - found.correct.mean())
    assert said["empty_prompts"] == int((~kept.any(axis=1)).sum())
    right = found.correct.sum(axis=1)
    assert said["pass_at_k"]["2"]["value"] == pytest.approx(np.mean(1 - comb(4 - right, 2) / comb(4, 2)))
    assert set(said["pass_at_k"]) == {"1", "2", "4"}
    assert found.scores.std() > 0.1
    assert said["auroc"]["value"] > 0.7


def test_everything_a_reader_needs_is_there(by_qe):
    written = ("report.html", "figures/evaluation.png", "figures/evaluation.pdf", "config.yaml", "status.json")
    for name in (*written, "tables/gap_by_weight.csv", "tables/over_n.md", "tables/best_of.csv"):
        assert (by_qe / name).stat().st_size > 0
    assert "NaN" not in (by_qe / "evaluation.json").read_text()
    sweep = pd.read_csv(by_qe / "tables" / "gap_by_weight.csv")
    everything = sweep[(sweep["weight"] == "quantile") & (sweep["parameter"] == 1)]
    assert everything["gv_gap"].item() == pytest.approx(0, abs=1e-12)  # w constant: no gap


def test_its_page_shows_responses_and_can_be_made_again_without_the_store(by_qe, tmp_path):
    alone = shutil.copytree(by_qe, tmp_path / by_qe.name)
    report_evaluation(alone, Display(quiet=True))
    shown = (alone / "report.html").read_text()
    kept = json.loads((alone / "examples.json").read_text())
    assert [len(kind["responses"]) for kind in kept] == [4, 4, 4, 4]
    for kind in kept:
        for row in kind["responses"]:
            assert str(escape(row["text"])) in shown
            assert (row["answer"] == row["reference"]) == kind["kind"].startswith("right")


def test_another_verifier_or_threshold_generates_no_response_and_a_threshold_no_verdict(folder, by_qe):
    before = texts(folder)
    verdicts = sorted(folder.glob("store/*/qe-*/part-*.parquet"))
    stricter = run(folder, "n=4", "weight.tau=0.8")
    by_tf = run(folder, "n=4", "verifier=tf")
    assert generated(by_qe) > 0
    assert generated(stricter) == generated(by_tf) == 0
    assert sorted(folder.glob("store/*/qe-*/part-*.parquet")) == verdicts
    assert texts(folder).equals(before)
    assert (read_evaluation(stricter).scores == read_evaluation(by_qe).scores).all()
    assert (read_evaluation(by_tf).scores != read_evaluation(by_qe).scores).any()


def test_more_responses_are_the_same_and_some_more(folder, by_qe, tmp_path):
    few = texts(folder)
    more = run(folder, "n=8")
    grown = texts(folder)
    assert grown[grown["sample"] < 4].reset_index(drop=True)["text"].equals(few["text"])
    at_once = run(tmp_path, "n=8")
    assert grown["text"].equals(texts(tmp_path)["text"])
    assert np.allclose(grown["nll"], texts(tmp_path)["nll"], atol=1e-5)
    assert generated(more) < generated(at_once)
    assert np.allclose(read_evaluation(more).scores, read_evaluation(at_once).scores, atol=1e-6)


def test_another_model_as_judge_reads_the_texts(folder, by_qe):
    fixed = run(folder, "n=4", f"verifier.model.path={WEIGHTS}")
    assert generated(fixed) == 0
    assert np.allclose(read_evaluation(fixed).scores, read_evaluation(by_qe).scores, atol=1e-6)


def test_gold_is_the_perfect_verifier(folder):
    by_gold = run(folder, "n=4", "verifier=gold")
    said = json.loads((by_gold / "evaluation.json").read_text())
    assert generated(by_gold) == 0
    filtered = said["pass_at_k"]["4"]["value"]  # some response is right, or none is: all are kept, and none counts
    assert said["filtered_accuracy"]["value"] == pytest.approx(filtered)
    assert said["gv_gap"]["value"] == pytest.approx(filtered - said["solver_accuracy"]["value"])


def test_repeated_verdicts_have_a_variance(folder):
    repeated = run(
        folder, "n=4", "verifier.readout=sampled", "verifier.repetitions=3", "sampling.verifier_temperature=1"
    )
    found = read_evaluation(repeated)
    assert found.verdicts.shape == (24, 4, 3)
    assert np.allclose(found.verdicts.mean(axis=2), found.scores)
    parts = pd.read_csv(repeated / "tables" / "verdict_variance.csv")
    assert len(parts) == 3
    once = run(folder, "n=4", "verifier.readout=sampled", "sampling.verifier_temperature=1")
    assert (read_evaluation(once).scores == found.verdicts[:, :, 0]).all()
    assert generated(once) == 0


def test_a_killed_evaluation_pays_for_nothing_twice(tmp_path):
    command = [sys.executable, "-m", "sivgap.evaluate", "n=128", "panel.prompts=96", "engine.threads=1"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    first = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("runs/store/*/qe-*/part-*.parquet")):
        assert first.poll() is None
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not list(tmp_path.glob("runs/evaluate-*/evaluation.json"))
    paid = sum(pd.read_parquet(p)["length"].sum() for p in tmp_path.glob("runs/store/*/part-*.parquet"))
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    done = tmp_path / again.stdout.splitlines()[-1]
    rows = pd.concat([pd.read_parquet(p) for p in tmp_path.glob("runs/store/*/part-*.parquet")])
    assert len(rows) == 96 * 128
    assert not rows.duplicated(["prompt", "sample"]).any()
    assert generated(done) == rows["length"].sum() - paid
    third = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "is complete" in third.stderr
    assert third.stdout.splitlines()[-1] == again.stdout.splitlines()[-1]


def test_a_signal_stops_it_with_75_and_the_same_command_goes_on(tmp_path):
    command = [sys.executable, "-m", "sivgap.evaluate", "n=64", "panel.prompts=192", "engine.threads=1"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    first = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("runs/store/*/part-*.parquet")):
        assert first.poll() is None
        time.sleep(0.02)
    first.send_signal(signal.SIGTERM)
    said = first.communicate()[1]
    assert first.returncode == 75, said
    (status,) = tmp_path.glob("runs/evaluate-*/status.json")
    assert json.loads(status.read_text())["state"] == "stopped"
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0
    assert json.loads(status.read_text())["state"] == "complete"


def test_a_damaged_part_is_named(folder, by_qe, tmp_path, command):
    run(tmp_path / "runs", "n=2")
    (part,) = tmp_path.glob("runs/store/*/part-*.parquet")
    part.write_bytes(part.read_bytes()[:-100])
    done = command("evaluate", *FEW, "n=2", "verifier=tf")
    assert done.returncode == 1
    assert part.name in done.stderr
    assert "delete this file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("overrides", "said"),
    [(("verifier=tournament", "n=6"), "power of two"), (("verifier=tournament", "n=4", "verifier.rounds=3"), "rounds"),
     (("weight.kind=best",), "weight.kind"), (("epochs=3",), "unknown key 'epochs'"),
     (("verifier=ensemble", "verifier.members=[]"), "members"), (("verifier=mc", "verifier.answers=null"), "answers")],
)  # fmt: skip
def test_a_wrong_setting_ends_with_status_2(overrides, said, command):
    done = command("evaluate", *overrides)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_two_processes_write_what_one_does(tmp_path, by_qe):
    done = run_command(tmp_path, "evaluate", *FEW, "n=4", "launch.processes=2")
    assert done.returncode == 0, done.stderr
    ours, theirs = (pd.read_parquet(where / "scores.parquet") for where in (tmp_path / done.stdout.strip(), by_qe))
    rounded = ["nll", "score"]
    pd.testing.assert_frame_equal(ours.drop(columns=rounded), theirs.drop(columns=rounded))
    np.testing.assert_allclose(ours[rounded], theirs[rounded], atol=1e-4)
    status = json.loads((tmp_path / done.stdout.strip() / "status.json").read_text())
    assert (status["state"], status["hardware"]["processes"]) == ("complete", 2)
