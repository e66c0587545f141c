"""Runs and evaluations with engine=vllm as a user starts them, against a real vLLM: ``make vllm-test``."""

import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import run_command
from small_runs import SMALL, lines, numbers, ranks_of, start, worker

from sivgap.config.embedded import WEIGHTS

pytestmark = [
    pytest.mark.skipif(not os.environ.get("SIVGAP_TEST_VLLM"), reason="needs vLLM: run make vllm-test"),
    pytest.mark.timeout(900),
]
RUN = (*SMALL[:1], *SMALL[2:], "engine=vllm", "epochs=2")
FEW = ("dataset.train_size=16", "dataset.test_size=16", "n=4", "engine.threads=1", "verifier=tf")
TWO = ("launch.processes=2",)
ONE_TEAM = (*TWO, "engine.tensor_parallel=2")
TWO_TEAMS = ("launch.processes=4", "engine.tensor_parallel=2")
LIKELIHOODS = ("solver_uncertainty", "verifier_uncertainty", "gap")


def train(folder: Path, *arguments: str) -> Path:
    return ended(folder, "train", *RUN, *arguments)


def ended(folder: Path, command: str, *arguments: str) -> Path:
    """The directory that a command has ended with."""
    done = run_command(folder, command, *arguments, seconds=600)
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.splitlines()[-1]


def goes_on(folder: Path, undisturbed: Path, *arguments: str) -> None:
    """The run in `folder` comes to its end, with the numbers of `undisturbed`."""
    for one, other in zip(numbers(undisturbed), numbers(train(folder, *arguments)), strict=True):
        assert [one[key] for key in LIKELIHOODS] == pytest.approx([other[key] for key in LIKELIHOODS], abs=1e-3)


def in_sessions(leaders: list[int]) -> list[str]:
    """The processes that still run in the sessions of `leaders`: these, and what they have started."""
    found = subprocess.run(["ps", "-e", "-o", "sid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in found.splitlines()]
    return [args for session, state, args in rows if int(session) in leaders and state[0] != "Z"]


@pytest.fixture(scope="module")
def merged(tmp_path_factory) -> Path:
    return train(tmp_path_factory.mktemp("merged"))


def test_a_whole_run_improves_and_says_what_it_ran_on(merged):
    measured = [line for line in lines(merged) if line["split"] == "train"]
    assert [line["epoch"] for line in measured] == [0, 0.5, 1, 1.5, 2]
    assert measured[-1]["verifier_uncertainty"] < measured[0]["verifier_uncertainty"]
    assert all(line["seconds_generate"] > 0 and line["seconds_verify"] > 0 for line in measured)
    assert json.loads((merged / "status.json").read_text())["versions"]["vllm"]


def test_both_hand_overs_are_the_same_run_but_for_rounding(merged, tmp_path):
    adapters = train(tmp_path, "engine.handover=adapter")
    assert adapters.name == merged.name
    for one, other in zip(lines(merged), lines(adapters), strict=True):
        assert [one[key] for key in LIKELIHOODS] == pytest.approx([other[key] for key in LIKELIHOODS], abs=0.05)


@pytest.mark.parametrize("handover", ["merged", "adapter"])
@pytest.mark.parametrize("shared", [TWO, ONE_TEAM, TWO_TEAMS], ids=" ".join)
def test_several_processes_have_the_numbers_of_one(merged, tmp_path, shared, handover):
    """Each has a vLLM, or a part of one, whose kernels round by what it works on."""
    several = train(tmp_path, *shared, f"engine.handover={handover}")
    for one, other in zip(lines(merged), lines(several), strict=True):
        assert [one[key] for key in LIKELIHOODS] == pytest.approx([other[key] for key in LIKELIHOODS], abs=1e-4)
    assert f"launch.processes={json.loads((several / 'status.json').read_text())['hardware']['processes']}" in shared


@pytest.mark.parametrize("shared", [(), TWO, ONE_TEAM], ids=" ".join)
def test_a_run_that_is_stopped_goes_on_to_the_same_numbers(merged, tmp_path, shared):
    command = start(tmp_path, *RUN, *shared, OMP_NUM_THREADS="1")
    os.kill(worker(tmp_path), signal.SIGTERM)
    assert command.wait(120) == 75, command.stderr.read()
    goes_on(tmp_path, merged, *shared)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("shared", [TWO, ONE_TEAM], ids=" ".join)
def test_a_killed_rank_ends_the_command_and_the_same_one_goes_on(merged, tmp_path, shared, rank):
    command = start(tmp_path, *RUN, *shared, OMP_NUM_THREADS="1")
    worker(tmp_path)
    ranks = ranks_of(command.pid)
    os.kill(ranks[rank], signal.SIGKILL)
    out, err = command.communicate(timeout=60)
    assert (command.returncode, out) == (1, ""), err
    assert "Traceback" not in err
    assert "leaked" not in err
    assert f"a rank died: process {rank + 1} of 2 was ended by SIGKILL" in err.splitlines()[-1]
    assert "the same command to go on" in err.splitlines()[-1]
    assert not in_sessions(ranks)
    goes_on(tmp_path, merged, *shared)


def test_labels_of_the_initial_model_stay_its_own(tmp_path):
    for handover in ("merged", "adapter"):
        train(tmp_path, "refresh=never", "epochs=1", f"engine.handover={handover}", f"runs_dir={handover}")


def test_other_models_judge_and_answer_beside_it(tmp_path):
    other = ("path=" + str(WEIGHTS), "chat_template=false")
    train(
        tmp_path, "epochs=1", *(f"verifier.model.{o}" for o in other), "cross.strategy=early", "cross.source=model",
        *(f"cross.model.{o}" for o in other),
    )  # fmt: skip


def test_preferences_are_trained_on_with_its_likelihoods(tmp_path):
    train(tmp_path, "update=rpo", "epochs=1", "selection.threshold=0.6")


def test_an_evaluation_takes_its_responses_from_it(tmp_path):
    for engine in ("vllm", "hf"):
        found = ended(tmp_path, "evaluate", f"engine={engine}", *FEW)
        assert json.loads((found / "status.json").read_text())["state"] == "complete"
    assert len(list((tmp_path / "runs/store").iterdir())) == 2  # responses of one engine are not the other's


def scores(folder: Path, *arguments: str) -> pd.DataFrame:
    folder.mkdir()
    return pd.read_parquet(ended(folder, "evaluate", "engine=vllm", *FEW, *arguments) / "scores.parquet")


@pytest.mark.parametrize("temperature", ["1", "0"])
def test_an_evaluation_by_several_processes_is_that_of_one(tmp_path, temperature):
    how = f"sampling.solver_temperature={temperature}"
    alone, rounded = scores(tmp_path / "alone", how), ["nll", "score"]
    for shared in (TWO, ONE_TEAM):
        several = scores(tmp_path / "_".join(shared), how, *shared)
        pd.testing.assert_frame_equal(several.drop(columns=rounded), alone.drop(columns=rounded))
        np.testing.assert_allclose(several[rounded], alone[rounded], atol=1e-4)


def test_a_plan_of_a_team_tries_a_whole_engine_and_adds_what_the_team_does_not_divide(tmp_path):
    def seconds(*more: str) -> float:
        done = run_command(tmp_path, "train", *RUN, "engine.threads=1", "plan=true", *more, seconds=600)
        assert done.returncode == 0, done.stderr
        assert "measured now" in done.stderr
        phases = json.loads(done.stdout.splitlines()[-1])["phases"]
        return sum(phase["seconds"] for phase in phases if phase["name"].endswith("sampling"))

    assert seconds(*ONE_TEAM) > seconds(*TWO)
    assert not list(tmp_path.iterdir())
