"""What a disk does to a run: files change, end early, cannot be written. It is found out, and nothing is lost."""

import json
import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from small_runs import SMALL, numbers
from stop_at import StopAt
from test_resume import attempt, config

from sivgap.cross.api_cache import Answer, ApiCache
from sivgap.errors import RunError
from sivgap.runs.checkpoint import load_newest
from sivgap.runs.sweep_manifest import Attempt, Job, Sweep, _alive
from sivgap.runs.trajectory import Trajectory
from sivgap.runtime.checksums import SUMS, Damaged, check, note
from sivgap.runtime.files import write_json
from sivgap.runtime.process_identity import birth
from sivgap.runtime.read import read_json, read_parquet, read_yaml
from sivgap.runtime.signals import StopRequest
from sivgap.store.parts import Parts
from sivgap.train import train


def flip(path: Path, place: float) -> None:
    """Another value of one bit."""
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 4
    path.write_bytes(bytes(data))


LINE = {"epoch": 0.0, "split": "test", "solver_uncertainty": 1.25, "verifier_uncertainty": 0.5}


@pytest.mark.parametrize("place", [0.0, 0.3, 0.62, 0.99])
def test_a_trajectory_with_another_bit_is_not_read(tmp_path, place):
    trajectory = Trajectory(tmp_path / "trajectory.jsonl")
    for epoch in range(3):
        trajectory.append({**LINE, "epoch": epoch / 2})
    whole = trajectory.read()
    text = trajectory.text()
    flip(trajectory.path, place)
    with pytest.raises(Damaged, match="checksum"):
        trajectory.read()
    with pytest.raises(Damaged):
        trajectory.append(LINE)
    assert trajectory.restore(text)
    assert trajectory.read() == whole


def test_a_line_cut_short_is_left_out_and_a_later_one_follows_on_its_place(tmp_path):
    trajectory = Trajectory(tmp_path / "trajectory.jsonl")
    trajectory.append(LINE)
    text = trajectory.text()
    with trajectory.path.open("a") as file:
        file.write('{"epoch": 0.5, "spl')
    assert trajectory.read() == [LINE]
    assert not trajectory.restore(text)
    trajectory.append({**LINE, "epoch": 0.5})
    assert [line["epoch"] for line in trajectory.read()] == [0, 0.5]


def test_files_without_a_checksum_are_taken_as_they_are(tmp_path):
    (tmp_path / "trajectory.jsonl").write_text(json.dumps(LINE) + "\n")
    assert Trajectory(tmp_path / "trajectory.jsonl").read() == [LINE]
    assert load_newest(tmp_path) == (None, [])


def test_a_list_of_checksums_that_was_cut_short_still_takes_the_next(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1}, tmp_path)
    with (tmp_path / SUMS).open("a") as file:
        file.write("0123456789abcdef")
    write_json(tmp_path / "a.json", {"a": 2}, tmp_path)
    check(tmp_path, tmp_path / "a.json")
    assert read_json(tmp_path / "a.json", tmp_path) == {"a": 2}


def test_a_kill_between_checksum_and_file_leaves_the_earlier_file_sound(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1}, tmp_path)
    note(tmp_path, tmp_path / "a.json", "0" * 64)
    assert read_json(tmp_path / "a.json", tmp_path) == {"a": 1}


def test_aliases_that_stand_for_any_amount_of_data_are_refused(tmp_path):
    (tmp_path / "c.yaml").write_text("a: &a [x, x]\nb: [*a, *a]\n")
    with pytest.raises(ValueError, match="alias"):
        read_yaml(tmp_path / "c.yaml")


def test_a_stored_part_with_another_bit_is_named(tmp_path):
    rows = pd.DataFrame({"prompt": ["p"] * 50, "sample": range(50), "nll": 0.5})
    Parts(tmp_path, {}).add(rows)
    (part,) = tmp_path.glob("part-*.parquet")
    for place in (0.2, 0.5, 0.8):
        flip(part, place)
        with pytest.raises(RunError, match="delete this file"):
            Parts(tmp_path, {}).read(["p"], ["sample"])
        flip(part, place)
    assert len(Parts(tmp_path, {}).read(["p"], ["sample"])) == 50


def test_a_paid_answer_that_is_damaged_is_asked_for_again(tmp_path):
    said: list[str] = []
    with ApiCache(str(tmp_path), said.append) as cache:
        cache.put("k", Answer("four", True, 3, 4))
        assert cache.get("k") == Answer("four", True, 3, 4)
        cache._base.execute("UPDATE answers SET answer = replace(answer, 'four', 'five')")
        assert cache.get("k") is None
        cache._base.execute("UPDATE answers SET answer = '[[['")
        with pytest.raises(RunError, match="damaged"):
            cache.get("k")
    assert "damaged" in said[0]


def test_a_run_whose_files_a_disk_changed_ends_with_the_same_numbers(tmp_path, whole):
    settings = config(tmp_path)
    attempt(settings, StopAt(160))
    (run,) = tmp_path.iterdir()
    newest = sorted((run / "checkpoints").glob("epoch=*"))[-1]
    for name in ("trajectory.jsonl", "status.json", "config.yaml"):
        flip(run / name, 0.4)
    flip(newest / "adapter_model.safetensors", 0.7)
    done, lines = attempt(settings, StopRequest())
    assert done
    assert lines == whole
    for path in (run / "samples").glob("*.parquet"):
        read_parquet(path, run)
        flip(path, 0.5)
        with pytest.raises(Damaged):
            read_parquet(path, run)


def test_a_complete_run_whose_trajectory_was_changed_is_whole_again_by_the_same_command(tmp_path, whole):
    settings = config(tmp_path)
    train(settings)
    (run,) = tmp_path.iterdir()
    flip(run / "trajectory.jsonl", 0.5)
    with pytest.raises(Damaged):
        Trajectory(run / "trajectory.jsonl").read()
    assert train(settings) == [line["solver_accuracy"] for line in whole if line["split"] == "test"][-1]
    assert numbers(run) == whole


def test_checkpoints_that_are_all_damaged_are_said_so_and_none_is_half_read(tmp_path):
    settings = config(tmp_path)
    attempt(settings, StopAt(160))
    (run,) = tmp_path.iterdir()
    for path in (run / "checkpoints").glob("epoch=*/optimizer.safetensors"):
        flip(path, random.Random(0).random())
    with pytest.raises(RunError, match="damaged"):
        attempt(settings, StopRequest())


def small(folder: Path, limit: int | None) -> subprocess.CompletedProcess[str]:
    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run([sys.executable, "-m", "sivgap.train", *SMALL, "epochs=0.5"], cwd=folder, env=environment,
                          capture_output=True, text=True, check=False, preexec_fn=limited)  # fmt: skip


def test_a_disk_that_takes_no_more_ends_a_run_in_a_sentence_and_the_next_command_goes_on(tmp_path):
    failed = small(tmp_path, 60_000)
    assert failed.returncode == 1, failed.stderr
    assert "Traceback" not in failed.stderr
    assert "File too large" in failed.stderr
    assert "same command" in failed.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert not [p for p in run.rglob(".*.tmp") if "wandb" not in p.parts]
    assert small(tmp_path, None).returncode == 0
    assert [line["epoch"] for line in numbers(run)] == [0, 0, 0.5, 0.5]


def test_a_process_is_not_taken_for_an_earlier_one_of_its_number(tmp_path):
    Sweep.create(tmp_path, [Job("a" * 16, "x", (), "r")])
    mine = Attempt(os.uname().nodename, os.getpid(), 0.0, birth=birth(os.getpid()))
    assert _alive(mine)
    assert not _alive(Attempt(mine.host, mine.process, 0.0, birth="another boot 17"))


def test_names_in_a_manifest_cannot_lead_out_of_it(tmp_path):
    for identity, run in (("../../../x", "r"), ("a" * 16, "../x")):
        job = {"identity": identity, "name": "n", "overrides": [], "run": run}
        (tmp_path / "sweep.json").write_text(json.dumps({"typed_in": ".", "jobs": [job]}))
        with pytest.raises(RunError, match="no sweep"):
            Sweep(tmp_path)
