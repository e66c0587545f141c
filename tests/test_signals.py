"""A real signal at every step of a run, on the embedded model: heard before the step has come to its end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sivgap.config.embedded import WEIGHTS

SCRIPT = """
import os, signal, sys
from importlib import import_module

command, owner, name, *sys.argv[1:] = sys.argv[1:]
module, _, kind = owner.partition(":")
there = import_module(module)
there = getattr(there, kind) if kind else there
step = getattr(there, name)

def interrupted(*args, **named):
    os.kill(os.getpid(), signal.SIGTERM)
    done = step(*args, **named)
    open("came-to-its-end", "w").close()
    return done

setattr(there, name, interrupted)
import_module("sivgap." + command).main()
"""
STEPS = {
    "loading": ("sivgap.engines.solver", "load_model"),
    "sampling": ("sivgap.engines.hf:HFEngine", "rollout"),
    "verifying": ("sivgap.verifiers.judge:ModelJudge", "ask"),
    "likelihoods": ("sivgap.engines.hf:HFEngine", "likelihood"),
    "training": ("sivgap.update.sft:Sft", "_backward"),
}
SMALL = {
    "train": ("experiment=smoke", "tracking.wandb.mode=disabled", "engine.threads=1", f"verifier.model.path={WEIGHTS}",
              "cross.strategy=early", "cross.budget=0.5", "measure.every=0.5"),
    "evaluate": ("n=8", "panel.prompts=24", "engine.threads=1", f"verifier.model.path={WEIGHTS}"),
}  # fmt: skip


def interrupted(folder: Path, command: str, step: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, command, *STEPS[step], *SMALL[command]], cwd=folder, capture_output=True,
        text=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("command", "step"),
    [*(("train", step) for step in STEPS), *(("evaluate", step) for step in ("loading", "sampling", "verifying"))],
)
def test_a_signal_is_heard_before_a_step_has_come_to_its_end(tmp_path, command, step):
    done = interrupted(tmp_path, command, step)
    assert done.returncode == 75, done.stderr
    assert "stopped by SIGTERM" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "came-to-its-end").exists()
    (status,) = [p for p in tmp_path.glob("runs/*/status.json") if "store" not in p.parts]
    assert json.loads(status.read_text())["state"] == "stopped"
