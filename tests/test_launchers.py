"""The files under launchers/ are what the tools that read them take, and what they start is one run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from small_runs import SMALL, close

from sivgap.config.schema import LaunchConfig
from sivgap.errors import ConfigError
from sivgap.parallel.place import Place, bare, find_place

LAUNCHERS = Path(__file__).parents[1] / "launchers"
SCRIPTS = sorted(LAUNCHERS.glob("*.sh"))
LONG = pytest.mark.skipif(not os.environ.get("SIVGAP_TEST_RANKS"), reason="whole runs: make ranks-test")
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    ("name", "machines", "processes", "kind"),
    [
        ("cpu_two", 1, 2, "MULTI_GPU"),
        ("one_gpu", 1, 1, "NO"),
        ("eight_gpus", 1, 8, "MULTI_GPU"),
        ("fsdp2", 1, 8, "FSDP"),
        ("two_nodes", 2, 16, "MULTI_GPU"),
    ],
)
def test_accelerate_takes_its_files(name, machines, processes, kind):
    found = load_config_from_file(str(LAUNCHERS / "accelerate" / f"{name}.yaml"))
    assert (found.num_machines, found.num_processes, str(found.distributed_type.value)) == (machines, processes, kind)
    assert (found.fsdp_config.get("fsdp_version") if kind == "FSDP" else 2) == 2


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_shell_and_slurm_take_their_scripts(script):
    subprocess.run(["bash", "-n", str(script)], check=True)
    asked = [line for line in script.read_text().splitlines() if line.startswith("#SBATCH")]
    answers = shutil.which("sinfo") and subprocess.run(["sinfo"], capture_output=True, check=False).returncode == 0
    if asked and answers:
        smaller = ["--gpus-per-node=0", "--cpus-per-task=1", "--nodes=1"]  # what a cluster of this machine has
        done = subprocess.run(
            ["sbatch", "--test-only", *smaller, str(script)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@LONG
@pytest.mark.parametrize(("name", "shard"), [("cpu_two", ("launch.shard=true",)), ("fsdp2", ())], ids=["cpu", "fsdp"])
def test_a_run_that_accelerate_starts_has_the_numbers_of_one_process(tmp_path, undisturbed, name, shard):
    done = subprocess.run(
        [str(BIN / "accelerate"), "launch", f"--config_file={LAUNCHERS / 'accelerate' / name}.yaml",
         "--num_processes=2", "-m", "sivgap.train", *SMALL, *shard], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(LAUNCHERS.parent), "ACCELERATE_USE_CPU": "true"}, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs").iterdir())) == 1
    run = tmp_path / done.stdout.splitlines()[-1]
    config = (run / "config.yaml").read_text()
    assert "processes: 2" in config
    assert "shard: true" in config
    close(run, next(iter(undisturbed.parent.glob("tiny-*seed0-*"))))


TORCHRUN = {
    "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "GROUP_RANK": "1",
    "GROUP_WORLD_SIZE": "2", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500", "TORCHELASTIC_USE_AGENT_STORE": "True",
    "TORCHELASTIC_RESTART_COUNT": "2", "OMP_NUM_THREADS": "1",
}  # fmt: skip
SRUN = {
    "SLURM_STEP_NUM_NODES": "4", "SLURM_STEP_NUM_TASKS": "4", "SLURM_NODEID": "3", "SLURM_JOB_ID": "123",
    "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "gpu[003-005,9],cpu1",
}  # fmt: skip


def test_a_place_is_what_the_launcher_says():
    assert find_place({}) == Place()
    assert find_place({"WORLD_SIZE": "1", "RANK": "0", "SLURM_STEP_NUM_NODES": "1"}) == Place()
    found = find_place(TORCHRUN)
    assert found == Place(1, 2, 1, 4, "10.0.0.1", 29500, "2", served=True)
    assert bare(TORCHRUN) == {"OMP_NUM_THREADS": "1"}
    assert find_place(SRUN) == Place(3, 4, address="gpu003", port=21230, attempt="123.0.0")
    assert find_place({"ACCELERATE_USE_FSDP": "true"}).shard
    assert bare({"ACCELERATE_USE_CPU": "true"}) == {"CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.parametrize(("listed", "first"), [("a", "a"), ("n[1-2]r[3,4]x,b", "n1r3x"), ("a,b[1-2]", "a")])
def test_the_first_of_slurms_hosts(listed, first):
    assert find_place({**SRUN, "SLURM_STEP_NODELIST": listed}).address == first


@pytest.mark.parametrize(
    ("told", "match"),
    [
        ({"WORLD_SIZE": "2", "RANK": "0"}, "several processes"),
        ({**SRUN, "SLURM_STEP_NUM_TASKS": "32"}, "start one on each"),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "DeepSpeed"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_loaded(told, match):
    with pytest.raises(ConfigError, match=match):
        find_place(told)


def test_a_launcher_and_a_setting_agree_on_the_number_of_processes():
    four = find_place(TORCHRUN)
    assert four.settle(LaunchConfig()).processes == 4
    assert Place().settle(LaunchConfig(processes=3)) == LaunchConfig(processes=3)
    assert find_place({**TORCHRUN, "LOCAL_WORLD_SIZE": "1"}).settle(LaunchConfig(processes=8)).processes == 8
    with pytest.raises(ConfigError, match=r"launch\.processes=3"):
        four.settle(LaunchConfig(processes=3))
