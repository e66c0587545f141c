"""The search of `launchers/experiment/tune.yaml`: ``make optuna-test`` installs its sweeper beside the environment."""

import json
import os
from pathlib import Path

import pytest
import yaml
from commands import run_command
from small_runs import SMALL, lines

pytestmark = pytest.mark.skipif(not os.environ.get("SIVGAP_TEST_OPTUNA"), reason="needs Optuna: run make optuna-test")
LAUNCHERS = Path(__file__).parents[2] / "launchers"
SEARCH = (
    "-m", "--config-dir", str(LAUNCHERS), "hydra/sweeper=optuna", "experiment=[smoke,tune]", "hydra.sweeper.n_trials=2",
    *SMALL[1:],
)  # fmt: skip


def test_each_trial_is_a_run_and_the_best_of_them_is_reported(tmp_path):
    done = run_command(tmp_path, "train", *SEARCH)
    assert done.returncode == 0, done.stderr
    runs = sorted(tmp_path.glob("runs/tiny-*"))
    assert len(runs) == 2
    assert {json.loads((run / "status.json").read_text())["state"] for run in runs} == {"complete"}
    (report,) = tmp_path.rglob("optimization_results.yaml")
    best = yaml.safe_load(report.read_text())
    accuracy = {run: [line for line in lines(run) if line["split"] == "test"][-1]["solver_accuracy"] for run in runs}
    assert best["best_value"] == max(accuracy.values())
    winners = [run for run in runs if accuracy[run] == best["best_value"]]
    found = [yaml.safe_load((run / "config.yaml").read_text()) for run in winners]
    proposed = best["best_params"]
    assert (proposed["update.learning_rate"], proposed["selection.threshold"]) in [
        (config["update"]["learning_rate"], config["selection"]["threshold"]) for config in found
    ]
