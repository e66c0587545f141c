import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import run_command
from local_models import save_model
from small_runs import lines, numbers

from sivgap.dashboard import _SECTIONS
from sivgap.gap.pass_at_k import pass_at_k
from sivgap.tracking.wandb_run import flatten

SMALL = ("experiment=smoke", "tracking.wandb.mode=disabled")


def state(run: Path) -> str:
    return json.loads((run / "status.json").read_text())["state"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One complete small run, W&B included."""
    folder = tmp_path_factory.mktemp("finished")
    done = train(folder, "experiment=smoke")
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.splitlines()[-1], done


def train(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return run_command(folder, "train", *arguments, **env)


def test_a_run_directory_holds_what_the_contract_names(finished):
    run, done = finished
    assert done.stdout.count("\n") == 1  # the path alone; all else went to standard error
    assert state(run) == "complete"
    status = json.loads((run / "status.json").read_text())
    assert status["versions"]["torch"]
    assert status["hardware"]["cores"]
    assert status["seconds"] > 0
    for name in ("config.yaml", "sivgap.log", "figures/trajectory.png", "samples/epoch=000.50.parquet",
                 "checkpoints/epoch=001.00/adapter_model.safetensors"):  # fmt: skip
        assert (run / name).is_file(), name
    assert not [p for p in run.rglob("*") if p.suffix in (".pkl", ".pt", ".bin", ".tmp")]
    assert list((run / "wandb").glob("offline-run-*"))
    assert [p.name for p in run.parents[1].iterdir()] == ["runs"]  # nothing is left where the command was typed


def test_a_trajectory_line_has_every_column(finished):
    run, _ = finished
    who = [f"{w}_{c}" for w in ("solver", "verifier") for c in (
        "uncertainty", "uncertainty_se", "uncertainty_per_token", "uncertainty_per_token_se", "length", "accuracy",
        "accuracy_se", "accuracy_strict")]  # fmt: skip
    rest = [
        "epoch",
        "step",
        "split",
        "n_prompts",
        "n_samples",
        "solver_uncertainty_all",
        "solver_uncertainty_all_se",
        "gap",
        "gap_se",
        "gap_per_token",
        "pass_at_k",
        "gv_gap",
        "gv_gap_se",
        "gv_gap_informative",
        "gv_gap_aggregate_relative",
        "gv_gap_aggregate_relative_se",
        "gv_gap_relative",
        "gv_gap_relative_se",
        "saturated_fraction",
        "score_auroc_within",
        "score_auroc_within_se",
        "score_mean",
        "fallback_fraction",
        "unparsed_fraction",
        "external_new",
        "external_total",
        "train_loss",
        "tokens",
        "seconds_generate",
        "seconds_verify",
        "seconds_train",
    ]
    found = lines(run)
    assert [(line["epoch"], line["split"]) for line in found] == [
        (epoch, split) for epoch in (0.0, 0.5, 1.0) for split in ("train", "test")
    ]
    for line in found:
        assert set(who + rest) <= line.keys()
        assert line["pass_at_k"]["8"] is None  # four samples a prompt
        assert (line["train_loss"] is None) == (line["epoch"] == 0)
        assert all(v is None or not isinstance(v, float) or np.isfinite(v) for v in line.values())


def test_the_columns_can_be_recomputed_from_the_stored_samples(finished):
    run, _ = finished
    for line in lines(run):
        frame = pd.read_parquet(run / "samples" / f"epoch={line['epoch']:06.2f}.parquet")
        frame = frame[frame.split == line["split"]]
        first, chosen = frame[frame["sample"] == 0], frame[frame.selected]
        assert len(first) == len(chosen) == line["n_prompts"]
        assert line["solver_uncertainty"] == pytest.approx(first.nll.mean())
        assert line["solver_uncertainty_all"] == pytest.approx(frame.nll.mean())
        assert line["verifier_uncertainty"] == pytest.approx(chosen.nll.mean())
        assert line["verifier_uncertainty_per_token"] == pytest.approx((chosen.nll / chosen.length).mean())
        assert line["gap"] == pytest.approx(line["solver_uncertainty"] - line["verifier_uncertainty"])
        paired = first.set_index("problem_id").nll - chosen.set_index("problem_id").nll
        assert line["gap_se"] == pytest.approx(paired.std() / len(paired) ** 0.5)
        assert line["verifier_accuracy"] == pytest.approx(chosen.correct.mean())
        successes = frame.groupby("problem_id").correct.sum().to_numpy(float)
        assert line["pass_at_k"]["2"] == pytest.approx(pass_at_k(successes, line["n_samples"], 2).mean())
        passing = frame[frame.score >= 0.5]
        best = (passing.nll / passing.length).groupby(passing.problem_id).min()
        kept = chosen.set_index("problem_id").loc[best.index]
        assert (kept.nll / kept.length).to_numpy() == pytest.approx(best.to_numpy())


def test_the_same_command_finds_the_finished_run_and_fresh_starts_beside_it(finished):
    run, _ = finished
    again = train(run.parents[1], "experiment=smoke")
    assert (again.returncode, run.parents[1] / again.stdout.strip()) == (0, run)
    assert "complete" in again.stderr
    fresh = train(run.parents[1], *SMALL, "fresh=true")
    other = run.parents[1] / fresh.stdout.splitlines()[-1]
    assert other.name == f"{run.name}-2"
    assert numbers(other) == numbers(run)


def test_batch_size_and_tracking_change_no_number(finished, tmp_path):
    run, _ = finished
    done = train(tmp_path, *SMALL, "engine.batch_size=24", "update.micro_batch_size=5")
    other = tmp_path / done.stdout.splitlines()[-1]
    assert other.name == run.name
    for mine, theirs in zip(numbers(other), numbers(run), strict=True):
        assert mine["split"] == theirs["split"]
        assert mine["pass_at_k"] == theirs["pass_at_k"]
        for key, value in theirs.items():
            if isinstance(value, float):
                assert mine[key] == pytest.approx(value, rel=1e-4, abs=1e-5), key


def interrupted(folder: Path, seconds: float, kind: signal.Signals) -> int:
    process = subprocess.Popen(
        [sys.executable, "-m", "sivgap.train", *SMALL],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(seconds)
    process.send_signal(kind)
    return process.wait(timeout=120)


def test_killed_at_random_moments_a_run_ends_with_the_same_numbers(finished, tmp_path):
    run, _ = finished
    rng = random.Random(0)
    for _ in range(3):
        interrupted(tmp_path, rng.uniform(4, 12), signal.SIGKILL)
    done = train(tmp_path, *SMALL)
    assert done.returncode == 0, done.stderr
    other = tmp_path / done.stdout.splitlines()[-1]
    assert numbers(other) == numbers(run)
    for path in sorted((run / "samples").iterdir()):
        pd.testing.assert_frame_equal(pd.read_parquet(path), pd.read_parquet(other / "samples" / path.name))


def test_sigterm_ends_with_75_and_the_run_goes_on(finished, tmp_path):
    run, _ = finished
    folder = tmp_path / "runs" / run.name
    process = subprocess.Popen(
        [sys.executable, "-m", "sivgap.train", *SMALL],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None and not (folder / "checkpoints").exists():
        time.sleep(0.01)
    process.terminate()
    _, error = process.communicate(timeout=120)
    assert process.returncode == 75, error
    assert "go on" in error.splitlines()[-1]
    assert "Traceback" not in error
    assert state(folder) == "stopped"
    done = train(tmp_path, *SMALL)
    assert "going on from epoch" in done.stderr
    assert numbers(folder) == numbers(run)


@pytest.mark.parametrize("refresh", ["step", "epoch", "never"])
def test_every_refresh_runs_to_the_end(tmp_path, refresh):
    done = train(tmp_path, *SMALL, f"refresh={refresh}", "verifier=tf", "selection.fallback=likeliest")
    assert done.returncode == 0, done.stderr
    run = tmp_path / done.stdout.splitlines()[-1]
    assert lines(run)[-1]["step"] >= 2


def test_full_fine_tuning_and_sampled_scores(tmp_path):
    done = train(tmp_path, *SMALL, "update.parameters=full", "verifier.readout=sampled", "update.learning_rate=1e-4")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("architecture", ["llama", "phi3"])
def test_a_local_model_runs_the_same_path_over_real_problems_with_its_chat_template(shared, tmp_path, architecture):
    folder = save_model(tmp_path / "model", architecture)
    name = {"llama": "llama32_3b", "phi3": "phi4_mini"}[architecture]
    done = train(
        tmp_path, f"model={name}", f"model.path={folder}", "dataset=gsm8k", f"dataset.path={shared}/gsm8k/train.jsonl",
        f"dataset.test_path={shared}/gsm8k/test.jsonl", "dataset.train_size=12", "dataset.test_size=6",
        "sampling.max_new_tokens=24", "epochs=1", "n=2", "model.dtype=float32", "tracking.wandb.mode=disabled",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    last = lines(tmp_path / done.stdout.splitlines()[-1])[-1]
    assert (last["epoch"], last["n_prompts"], last["n_samples"]) == (1.0, 6, 2)
    assert last["unparsed_fraction"] > 0.5  # a random model says nothing sensible: neutral, counted, no crash


def test_a_model_that_cannot_be_had_is_one_sentence(tmp_path):
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({"question": f"{i}?", "answer": f"#### {i}"}) + "\n" for i in range(60)))
    arguments = ("model=llama32_3b", "dataset=gsm8k", "verifier=qe", f"dataset.path={data}")
    done = train(tmp_path, *arguments, "tracking.wandb.mode=disabled")
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("sivgap:")]
    assert len(said) == 1
    assert "meta-llama/Llama-3.2-3B-Instruct" in said[0]
    assert "model.path=FOLDER" in said[0]
    assert "Traceback" not in done.stderr


def test_a_broken_dataset_leaves_nothing_half_written(tmp_path):
    (tmp_path / "data.jsonl").write_text('{"question": "1+1", "answer": "2"}\n{broken\n')
    done = train(tmp_path, *SMALL, "dataset.path=data.jsonl")
    assert done.returncode == 1
    assert "data.jsonl, line 2" in done.stderr
    assert not list(tmp_path.glob("runs/*/trajectory.jsonl"))


def test_two_processes_at_once_are_told_apart(finished, tmp_path):
    run, _ = finished
    process = subprocess.Popen(
        [sys.executable, "-m", "sivgap.train", *SMALL],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and not (tmp_path / "runs" / run.name / ".lock").exists():
        time.sleep(0.01)
    second = train(tmp_path, *SMALL)
    assert second.returncode == 1
    assert "is working on this run" in second.stderr
    assert process.wait(timeout=120) == 0


def test_wandb_holds_every_number_of_the_trajectory_against_our_own_epoch(finished):
    run, _ = finished
    offline = next((run / "wandb").glob("offline-run-*"))
    read = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(offline)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    records = [json.loads(line) for line in read.stdout.splitlines()]
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    seen = {item["epoch"]: item for item in history}
    assert len(seen) == len(history)  # one step a measurement
    for line in lines(run):
        for name, value in flatten(line).items():
            assert seen[line["epoch"]][name] == value
    assert all(item["samples.nrows"] > 0 for item in history)
    config = next(record for record in records if record["type"] == "run")
    assert "learning_rate" in json.dumps(config)


def test_a_failing_wandb_does_not_stop_a_run(tmp_path):
    (tmp_path / "wandb.py").write_text("raise RuntimeError('W&B is down')\n")
    done = train(tmp_path, "experiment=smoke", PYTHONPATH=f"{tmp_path}:{Path(__file__).parents[1]}")
    assert done.returncode == 0, done.stderr
    assert "W&B failed" in done.stderr
    assert state(tmp_path / done.stdout.splitlines()[-1]) == "complete"


def test_several_processes_are_refused_not_ignored(tmp_path):
    done = train(tmp_path, *SMALL, WORLD_SIZE="2")
    assert done.returncode == 2
    assert "several processes" in done.stderr


def test_every_panel_of_the_dashboard_shows_a_column_that_is_streamed(finished):
    run, _ = finished
    columns = set(flatten({**lines(run)[0], "split": "train"})) | {f"train/{key}" for key in lines(run)[0]}
    streamed = columns | {name.replace("train/", "test/") for name in columns}
    panels = [name for section in _SECTIONS.values() for names in section.values() for name in names]
    assert not [name for name in panels if name not in streamed and not name.startswith("test/pass_at_k")]


def test_a_dashboard_is_written_by_code(tmp_path):
    done = run_command(tmp_path, "dashboard", "entity=me", "group=sweep-1", "out=dashboard.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / done.stdout.strip()).read_text())
    sections = found["spec"]["section"]["panelBankConfig"]["sections"]
    assert sum(len(section["panels"]) for section in sections) == sum(map(len, _SECTIONS.values()))
    assert "sweep-1" in json.dumps(found["spec"])
