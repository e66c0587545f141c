"""Three epochs on two processes against one, weights replicated and sharded: ``make ranks-test``, nine minutes."""

import json
import os
import time
from pathlib import Path

import pytest
from commands import run_command
from small_runs import SMALL, close, start

pytestmark = pytest.mark.skipif(not os.environ.get("SIVGAP_TEST_RANKS"), reason="takes minutes: run make ranks-test")
TRAINED = {
    ("update.parameters=lora",): 1e-6,
    ("update.parameters=full",): 4e-6,
    ("update=rpo", "update.parameters=lora"): 1e-6,
}
"""What is trained, and what rounding alone may grow to in 29 steps: with all weights in training 1.6e-6, replicated and
sharded alike."""
THREE = (*SMALL, "epochs=3", "update.batch_size=4")


@pytest.fixture(scope="module", params=TRAINED, ids=" ".join)
def alone(request, tmp_path_factory) -> tuple[Path, tuple[str, ...]]:
    """The run on one process, and what it trains."""
    folder = tmp_path_factory.mktemp("alone")
    done = run_command(folder, "train", *THREE, *request.param)
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.strip(), request.param


@pytest.mark.parametrize("shard", ["true", "false"])
@pytest.mark.parametrize("processes", [1, 2])
def test_the_numbers_are_those_of_one_process(tmp_path, alone, processes, shard):
    if (processes, shard) == (1, "false"):
        pytest.skip("this is the one process")
    run, trained = alone
    done = run_command(tmp_path, "train", *THREE, *trained, f"launch.processes={processes}", f"launch.shard={shard}")
    assert done.returncode == 0, done.stderr
    close(tmp_path / done.stdout.strip(), run, TRAINED[trained])
    status = json.loads((tmp_path / done.stdout.strip() / "status.json").read_text())
    assert status["hardware"]["processes"] == processes


@pytest.mark.parametrize("sharded", ["all", "those of two"])
def test_stopped_and_gone_on_with_on_2_1_and_2_processes(tmp_path, alone, sharded):
    run, trained = alone
    for processes, after in ((2, "000.50"), (1, "001.50"), (2, "")):
        shard = str(sharded == "all" or processes == 2).lower()
        command = start(tmp_path, *THREE, *trained, f"launch.processes={processes}", f"launch.shard={shard}")
        while command.poll() is None and not (after and list(tmp_path.glob(f"runs/tiny-*/checkpoints/epoch={after}"))):
            time.sleep(0.01)
        if after:
            command.terminate()
        out, err = command.communicate(timeout=60)
        assert command.returncode == (75 if after else 0), err
    assert "going on from epoch" in err
    close(tmp_path / out.strip(), run, TRAINED[trained])
