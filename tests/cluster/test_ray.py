"""Sweeps on a real Ray cluster of two nodes: ``make ray-test`` installs Ray beside the environment and runs these."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from commands import run_command
from small_runs import SEEDS, of_jobs, start, worker

pytestmark = pytest.mark.skipif(not os.environ.get("SIVGAP_TEST_RAY"), reason="needs Ray: run make ray-test")
RAY = ("hydra/launcher=ray", "+hydra.launcher.ray.init.address=auto")


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes of one processor each on loopback; the second one can be killed. They see this checkout."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = found.add_node(num_cpus=1)
    os.environ["RAY_ADDRESS"] = found.address
    yield found, second
    del os.environ["RAY_ADDRESS"]
    found.shutdown()


def test_the_numbers_are_those_of_basic(tmp_path, undisturbed, cluster):
    done = run_command(tmp_path, "train", *SEEDS, *RAY)
    assert done.returncode == 0, done.stderr
    assert of_jobs(tmp_path / done.stdout.splitlines()[-1]) == of_jobs(undisturbed)


def test_a_node_that_dies_takes_no_job_along(tmp_path, undisturbed, cluster):
    found, second = cluster
    sweep = start(tmp_path, *SEEDS, *RAY)
    worker(tmp_path)
    found.remove_node(second, allow_graceful=False)
    out, err = sweep.communicate(timeout=280)
    if sweep.returncode != 0:  # the launcher lost the cluster with the node: the same command goes on
        assert sweep.returncode == 75, err
        done = run_command(tmp_path, "train", *SEEDS, *RAY)
        assert done.returncode == 0, done.stderr
        out = done.stdout
    assert out.strip(), err
    path = tmp_path / out.splitlines()[-1]
    assert of_jobs(path) == of_jobs(undisturbed)
    assert json.loads((path / "sweep.json").read_text())["jobs"]
    assert subprocess.run(["pgrep", "-f", "raylet"], capture_output=True, check=False).returncode == 0
