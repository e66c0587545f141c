"""One run on several processes: the numbers of one, whatever happens to its ranks."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from commands import run_command
from small_runs import SEEDS, SMALL, attempts, close, ranks_of, start, worker

TWO = "launch.processes=2"


def runs(sweep: Path) -> dict[str, Path]:
    return {job["name"]: sweep.parent / job["run"] for job in json.loads((sweep / "sweep.json").read_text())["jobs"]}


def test_a_sweep_of_runs_on_two_processes_has_the_numbers_of_one_though_a_rank_is_killed(tmp_path, undisturbed):
    command = start(tmp_path, *SEEDS, TWO)
    os.kill(ranks_of(worker(tmp_path))[0], signal.SIGKILL)
    out, err = command.communicate(timeout=240)
    assert command.returncode == 0, err
    assert out.count("\n") == 1
    sweep = tmp_path / out.strip()
    assert sorted(o for outcomes in attempts(sweep).values() for o in outcomes) == 2 * ["complete"] + ["killed"]
    found = runs(sweep)
    assert len(found) == 2
    for name, run in found.items():
        close(run, runs(undisturbed)[name])
        assert json.loads((run / "status.json").read_text())["hardware"]["processes"] == 2
    assert {p.name for p in tmp_path.iterdir()} == {"runs"}


def test_stopped_killed_and_gone_on_with_on_any_number_of_processes(tmp_path, undisturbed):
    for processes, how, after in ((2, "stop", "000.00"), (1, "stop", "000.50"), (2, "kill", "000.50")):
        command = start(tmp_path, *SMALL, f"launch.processes={processes}")
        assert worker(tmp_path) == command.pid
        while command.poll() is None and not list(tmp_path.glob(f"runs/tiny-*/checkpoints/epoch={after}")):
            time.sleep(0.01)
        ranks = ranks_of(command.pid) if processes > 1 else []
        if how == "kill":
            os.kill(ranks[1], signal.SIGKILL)
        else:
            command.terminate()
        asked = time.monotonic()
        out, err = command.communicate(timeout=60)
        assert command.returncode == (75 if how == "stop" else 1), err
        assert time.monotonic() - asked < 20
        assert not out
        assert "Traceback" not in err
        assert "the same command to go on" in err.splitlines()[-1]
        assert ("a rank died" in err.splitlines()[-1]) == (how == "kill")
        assert not [rank for rank in ranks if Path(f"/proc/{rank}").exists()]
    done = run_command(tmp_path, "train", *SMALL, TWO)
    assert done.returncode == 0, done.stderr
    assert "going on from epoch 0.5" in done.stderr
    close(tmp_path / done.stdout.strip(), runs(undisturbed)["seed=0"])


def test_ranks_do_not_outlive_the_run_that_started_them(tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = start(tmp_path, *SMALL, "epochs=50", TWO, TMPDIR=str(temporary))
    worker(tmp_path)
    ranks = ranks_of(command.pid)
    assert len(ranks) == 2
    command.kill()
    command.communicate()
    for _ in range(200):
        if not [rank for rank in ranks if Path(f"/proc/{rank}").exists()]:
            break
        time.sleep(0.1)
    assert not [rank for rank in ranks if Path(f"/proc/{rank}").exists()]
    assert not list(temporary.glob("sivgap-*"))


@pytest.mark.parametrize("processes", ["0", "two"])
def test_a_number_of_processes_is_a_number(tmp_path, processes):
    done = run_command(tmp_path, "train", *SMALL, f"launch.processes={processes}")
    assert done.returncode == 2
    assert "launch.processes: input should be" in done.stderr
