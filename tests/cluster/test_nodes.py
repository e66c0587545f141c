"""Two hosts at one run, each in a network of its own, with a cable between them: ``make nodes-test``, as root."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import run_command
from small_runs import SMALL, close, ranks_of

pytestmark = pytest.mark.skipif(not os.environ.get("SIVGAP_TEST_NETNS"), reason="needs root: run make nodes-test")
HOSTS = ("sivgap-a", "sivgap-b")
THREE = (*SMALL, "epochs=3")
BIN = Path(sys.executable).parent
ENDS = 40
"""Seconds within which all hosts have ended once something ends the run: 20 of silence, and what ending takes."""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def cable(state: str) -> None:
    ip("-n", HOSTS[1], "link", "set", "cable1", state)


@pytest.fixture(scope="module")
def hosts():
    """Two network namespaces joined by a cable, 10.77.0.1 and 10.77.0.2."""
    for host in HOSTS:
        subprocess.run(["ip", "netns", "del", host], check=False, capture_output=True)
        ip("netns", "add", host)
    ip("link", "add", "cable0", "netns", HOSTS[0], "type", "veth", "peer", "name", "cable1", "netns", HOSTS[1])
    for i, host in enumerate(HOSTS):
        ip("-n", host, "addr", "add", f"10.77.0.{i + 1}/24", "dev", f"cable{i}")
        ip("-n", host, "link", "set", f"cable{i}", "up")
        ip("-n", host, "link", "set", "lo", "up")
    yield
    for host in HOSTS:
        ip("netns", "del", host)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """The run on one process."""
    folder = tmp_path_factory.mktemp("alone")
    done = run_command(folder, "train", *THREE)
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.strip()


def torchrun(host: int, port: int) -> tuple[list[str], dict[str, str]]:
    where = ["--nnodes=2", f"--node-rank={host}", "--master-addr=10.77.0.1", f"--master-port={port}"]
    return [str(BIN / "torchrun"), *where, "--nproc-per-node=1", "-m", "sivgap.train"], {}


def accelerate(host: int, port: int) -> tuple[list[str], dict[str, str]]:
    where = ["--num_machines=2", f"--machine_rank={host}", "--main_process_ip=10.77.0.1", f"--main_process_port={port}"]
    how = ["--multi_gpu", "--num_processes=2", "--mixed_precision=no", "--dynamo_backend=no"]
    return [str(BIN / "accelerate"), "launch", *how, *where, "-m", "sivgap.train"], {"ACCELERATE_USE_CPU": "true"}


def srun(host: int, port: int) -> tuple[list[str], dict[str, str]]:
    """What srun starts on a host, with what it tells it."""
    told = {
        "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NODEID": str(host), "SLURM_JOB_ID": str(port),
        "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "10.77.0.[1-2]",
    }  # fmt: skip
    return [sys.executable, "-m", "sivgap.train"], told


def start(folder: Path, launcher, port: int, *arguments: str, name: str = "train") -> list[subprocess.Popen[str]]:
    """``sivgap.NAME`` on both hosts; a training run has three epochs."""
    found = []
    for host, network in enumerate(HOSTS):
        command, told = launcher(host, port)
        command = [*command[:-1], f"sivgap.{name}", *(THREE if name == "train" else ()), *arguments]
        found.append(
            subprocess.Popen(
                ["ip", "netns", "exec", network, *command], cwd=folder, text=True,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONUNBUFFERED": "1", **told},
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
        )  # fmt: skip
    return found


def finish(commands: list[subprocess.Popen[str]], seconds: float) -> list[tuple[int, str, str]]:
    end, found = time.monotonic() + seconds, []
    for command in commands:
        out, err = command.communicate(timeout=max(1, end - time.monotonic()))
        found.append((command.returncode, out, err))
    return found


def at_epoch(folder: Path, epoch: str) -> None:
    for _ in range(1200):
        if list(folder.glob(f"runs/tiny-*/checkpoints/epoch={epoch}")):
            return
        time.sleep(0.05)
    raise AssertionError("no checkpoint")


def sentences(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.startswith("sivgap: ")]


@pytest.mark.parametrize(("launcher", "port"), [(torchrun, 29701), (accelerate, 29702), (srun, 29703)])
def test_two_hosts_have_the_numbers_of_one_process(tmp_path, hosts, alone, launcher, port):
    (code, out, err), (other, nothing, _) = finish(start(tmp_path, launcher, port), 240)
    assert (code, other) == (0, 0), err
    assert not nothing
    assert len(list(tmp_path.iterdir())) == 1
    close(tmp_path / out.splitlines()[-1], alone)


def test_sharded_within_hosts_and_replicated_across_them(tmp_path, hosts, alone):
    (code, out, err), _ = finish(start(tmp_path, srun, 29707, "launch.processes=2", "launch.shard=true"), 300)
    assert code == 0, err
    close(tmp_path / out.splitlines()[-1], alone)


@pytest.mark.parametrize(("launcher", "port"), [(torchrun, 29708), (srun, 29709)])
def test_an_evaluation_by_two_hosts_is_that_of_one_process(tmp_path, hosts, launcher, port):
    few = ("panel.prompts=24", "engine.threads=1", "n=4")
    one = run_command(tmp_path, "evaluate", *few, "runs_dir=one", "store=one/store")
    assert one.returncode == 0, one.stderr
    (code, out, err), (other, nothing, _) = finish(start(tmp_path, launcher, port, *few, name="evaluate"), 240)
    assert (code, other, nothing) == (0, 0, ""), err
    ours, theirs = (pd.read_parquet(tmp_path / said.strip() / "scores.parquet") for said in (out, one.stdout))
    rounded = ["nll", "score"]
    pd.testing.assert_frame_equal(ours.drop(columns=rounded), theirs.drop(columns=rounded))
    np.testing.assert_allclose(ours[rounded], theirs[rounded], atol=1e-4)
    assert json.loads((tmp_path / out.strip() / "status.json").read_text())["hardware"]["processes"] == 2


@pytest.mark.parametrize(("launcher", "port"), [(torchrun, 29711), (srun, 29712)])
def test_a_host_that_is_cut_off_ends_both_and_the_same_command_goes_on(tmp_path, hosts, alone, launcher, port):
    commands = start(tmp_path, launcher, port)
    at_epoch(tmp_path, "001.00")
    cable("down")
    try:
        (code, out, err), (other, _, lost) = finish(commands, ENDS)
    finally:
        cable("up")
    assert (code, other, out) == (1, 1, "")
    assert len(sentences(err)) == 1
    assert "machine 2 of 2" in sentences(err)[0]
    assert "run the same command to go on" in sentences(err)[0]
    assert "10.77.0.1, has not been heard of" in sentences(lost)[0]
    (code, out, err), (other, _, _) = finish(start(tmp_path, launcher, port + 10), 240)
    assert (code, other) == (0, 0), err
    assert "going on from epoch" in err
    close(tmp_path / out.splitlines()[-1], alone)


def everything_under(process: int) -> list[int]:
    found = ranks_of(process)
    return [*found, *(deeper for child in found for deeper in everything_under(child))]


def test_a_rank_that_dies_on_one_host_ends_the_other_within_seconds(tmp_path, hosts, alone):
    commands = start(tmp_path, srun, 29731)
    at_epoch(tmp_path, "000.50")
    commandlines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in everything_under(commands[1].pid)}
    rank = next(pid for pid, line in commandlines.items() if b"sivgap.parallel" in line)
    os.kill(rank, signal.SIGKILL)
    (code, _, err), (other, _, quiet) = finish(commands, 20)
    assert (code, other) == (1, 1)
    assert "process 2 of 2 was ended by SIGKILL" in sentences(err)[0]
    assert not sentences(quiet)
    (code, out, err), _ = finish(start(tmp_path, srun, 29732), 240)
    assert code == 0, err
    close(tmp_path / out.splitlines()[-1], alone)


def test_a_signal_to_one_host_stops_both_with_a_checkpoint(tmp_path, hosts):
    commands = start(tmp_path, srun, 29741)
    at_epoch(tmp_path, "000.50")
    ours = [commands[1].pid, *everything_under(commands[1].pid)]
    train = next(pid for pid in ours if b"sivgap.train" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(train, signal.SIGTERM)
    (code, _, err), (other, _, _) = finish(commands, ENDS)
    assert (code, other) == (75, 75)
    assert "stopped by SIGTERM" in sentences(err)[0]
