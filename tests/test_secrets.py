"""Keys are in the environment, and nowhere else: not in a file of a run, not in what it says, not on W&B."""

import os
from pathlib import Path

from commands import run_command

WANDB = "planted0wandb0key0planted0wandb0key0abcd"
API = "sk-planted-api-key-0123456789abcdef"
KEYS = {"WANDB_API_KEY": WANDB, "OPENAI_API_KEY": API}
SMALL = ("experiment=smoke", "epochs=0.5", "engine.threads=1", "measure.test_prompts=4", "measure.train_prompts=4")


def found(folder: Path, *said: str) -> list[str]:
    """Files, and things said, that hold one of the keys."""
    files = [p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()]
    assert files
    holding = [str(p) for p in files if any(key.encode() in p.read_bytes() for key in (WANDB, API))]
    return holding + [text for text in said if any(key in text for key in (WANDB, API))]


def test_no_file_and_no_word_of_a_run_holds_a_key(tmp_path):
    done = run_command(tmp_path, "train", *SMALL, **KEYS)
    assert done.returncode == 0, done.stderr
    run = done.stdout.splitlines()[-1]
    assert list(tmp_path.rglob("offline-run-*"))
    reported = run_command(tmp_path, "report", f"runs={run}", **KEYS)
    assert not found(tmp_path, done.stdout, done.stderr, reported.stdout, reported.stderr)


def test_nor_does_a_run_that_fails(tmp_path):
    api = ("model=m", "base_url=http://127.0.0.1:9/v1", "retries=0", "input_price=0", "output_price=0", "cache=c")
    asked = ("cross.strategy=early", "cross.source=api", *(f"cross.api.{setting}" for setting in api))
    done = run_command(tmp_path, "train", *SMALL, *asked, **KEYS)
    assert done.returncode == 1, done.stderr
    assert "cross.source=api" in done.stderr
    assert not found(tmp_path, done.stdout, done.stderr)


def test_a_key_typed_where_its_name_belongs_is_refused_and_not_repeated(tmp_path):
    typed = (f"cross.api.key_env={API}", f"cross.api.base_url=http://me:{API}@127.0.0.1:9/v1")
    for override in typed:
        done = run_command(tmp_path, "train", override)
        assert done.returncode == 2
        assert "cross.api" in done.stderr
        assert API not in done.stdout + done.stderr
    assert not any(tmp_path.rglob("*.yaml"))
    assert API not in os.environ.values()
