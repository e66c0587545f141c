"""What the campaigns of benchmarks/reliability found: each is a sentence now, or changes nothing."""

import fcntl
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_resume import config
from test_storage import LINE, flip

from sivgap.allocate import AllocateConfig, allocate
from sivgap.config.allocation import read_schedule
from sivgap.cross.api_cache import Answer, ApiCache
from sivgap.errors import RunError, Stopped, unexpected
from sivgap.report.sweep_watch import watching
from sivgap.runs.sweep_manifest import Job, Sweep
from sivgap.runs.trajectory import Trajectory, final_accuracy
from sivgap.runtime.checksums import Damaged, note, noted
from sivgap.runtime.display import Display
from sivgap.runtime.files import tidied, write_json
from sivgap.store.parts import Parts
from sivgap.train import train
from sivgap.upload import whole_measurements


def outcome(read: Callable[[], object]) -> str:
    """What is read, or the sentence instead."""
    try:
        return str(read())
    except RunError as error:
        return str(error)


def test_a_trajectory_that_lost_its_last_lines_is_not_read_but_one_that_misses_a_line_announced_is(tmp_path):
    trajectory = Trajectory(tmp_path / "trajectory.jsonl")
    texts = [""]
    for epoch in range(4):
        trajectory.append({**LINE, "epoch": epoch / 2})
        texts.append(trajectory.text())
    for text in texts[:3]:
        trajectory.path.write_text(text)
        with pytest.raises(Damaged):
            trajectory.read()
    trajectory.path.write_text(texts[3])  # as a kill between checksum and line leaves it
    assert len(trajectory.read()) == 3
    assert not trajectory.restore(texts[3])
    note(tmp_path, trajectory.path, "0" * 64)  # and another one, of a line with another time in it
    assert len(trajectory.read()) == 3


def test_a_trajectory_is_read_while_a_run_adds_to_it(tmp_path, monkeypatch):
    trajectory = Trajectory(tmp_path / "trajectory.jsonl")
    for epoch in range(3):
        trajectory.append({**LINE, "epoch": epoch / 2})
    real = Path.read_bytes

    def slowly(path: Path) -> bytes:
        data = real(path)
        if path == trajectory.path:
            monkeypatch.undo()
            for epoch in (1.5, 2.0, 2.5):
                trajectory.append({**LINE, "epoch": epoch})
        return data

    monkeypatch.setattr(Path, "read_bytes", slowly)
    assert len(trajectory.read()) == 3
    assert len(trajectory.read()) == 6


def test_a_stored_part_with_any_other_bit_is_named_or_holds_the_same(tmp_path):
    rows = pd.DataFrame({"prompt": ["pq"] * 4, "sample": range(4), "nll": 0.5, "text": "ab"})
    Parts(tmp_path, {}).add(rows)
    (part,) = tmp_path.glob("part-*.parquet")
    for place in np.linspace(0, 1, 400):
        flip(part, place)
        said = outcome(lambda: len(Parts(tmp_path, {}).read(["pq"], ["sample"])))
        assert part.name in said or said == "0"  # these may be another prompt's: they are made again, to the same rows
        flip(part, place)


def test_a_record_of_a_job_with_another_bit_is_named_and_no_traceback(tmp_path, monkeypatch):
    job = Job("a" * 16, "x", (), "r")
    sweep = Sweep.create(tmp_path, [job])
    sweep.begin(job)
    sweep.end(job, "stopped", None)
    file = tmp_path / "jobs" / f"{job.identity}.json"
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    before = outcome(sweep.progress)
    for place in np.linspace(0.01, 0.99, 150):
        flip(file, place)
        assert "delete it" in (said := outcome(sweep.progress)) or said == before
        flip(file, place)
    flip(file, 0.5)
    monkeypatch.setattr("sivgap.report.sweep_watch._EVERY", 0.01)
    with watching(sweep, Display()):
        pass
    assert not raised
    entries = [{k: v for k, v in entry.items() if k != "checksum"} for entry in json.loads(file.read_text())]
    file.write_text(json.dumps(entries))  # as an older version wrote them
    assert len(sweep.progress()[0].attempts) == 1


def test_a_schedule_with_another_digit_is_not_followed(tmp_path):
    write_json(tmp_path / "allocation.json", {"plans": [{"name": "best", "eta": [0.25, 0.0]}]}, tmp_path)
    assert read_schedule(tmp_path / "allocation.json") == [0.25, 0]
    text = (tmp_path / "allocation.json").read_text()
    (tmp_path / "allocation.json").write_text(text.replace("0.25", "0.35"))
    with pytest.raises(Damaged):
        read_schedule(tmp_path / "allocation.json")


def test_an_allocation_comes_with_its_checksum(tmp_path):
    values = {"solver_initial": 2.8, "verifier_initial": 1.2, "gap_limit": 0.4, "rate": 0.35, "beta_over_alpha": 0.4}
    fit = {"coupled": {"parameters": {name: {"value": value} for name, value in values.items()}}}
    write_json(tmp_path / "fit.json", fit, tmp_path)
    allocate(AllocateConfig(fit=str(tmp_path / "fit.json"), budget=0.2, horizon=2, gamma=1.0))
    assert noted(tmp_path, tmp_path / "allocation.json")


def test_a_last_accuracy_that_is_none_is_not_made_up(tmp_path):
    file = tmp_path / "trajectory.jsonl"
    file.write_text(json.dumps({**LINE, "solver_accuracy": 0.5}) + "\n")
    assert final_accuracy(tmp_path) == 0.5
    file.write_text(json.dumps(LINE) + "\n")
    assert final_accuracy(tmp_path) is None
    file.write_text(json.dumps({**LINE, "solver_accuracy": "all"}) + "\n")
    with pytest.raises(RunError, match="no number"):
        final_accuracy(tmp_path)


def test_an_answer_to_something_else_is_not_taken_though_it_is_sound(tmp_path):
    said: list[str] = []
    with ApiCache(str(tmp_path), said.append) as cache:
        cache.put("a", Answer("one", True, 3, 4))
        cache.put("b", Answer("two", True, 3, 4))
        cache._base.execute("UPDATE answers SET answer = (SELECT answer FROM answers WHERE key = 'b') WHERE key = 'a'")
        assert cache.get("a") is None
        assert cache.get("b") == Answer("two", True, 3, 4)
    assert "damaged" in said[0]


def test_a_full_disk_is_told_of_though_a_library_trips_over_it():
    def draw() -> None:
        page = os.open("/dev/full", os.O_WRONLY)
        try:
            os.write(page, b"a page")
        finally:  # as matplotlib does, which ends the stream of a page that it could not begin
            os.close(page)
            raise AttributeError("'Stream' object has no attribute 'pos'")

    with pytest.raises(AttributeError) as found:
        draw()
    told = unexpected(found.value, Path("a.log"))
    assert isinstance(told, RunError)
    assert "No space left on device" in str(told)
    assert "please report" in str(unexpected(AttributeError("ours"), Path("a.log")))


def test_what_a_killed_writer_left_aside_is_deleted_once_nobody_else_writes_there(tmp_path):
    left = tmp_path / ".scores.parquet.1.tmp"
    left.write_text("half of it")
    with (tmp_path / ".lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        with tidied(tmp_path):
            assert left.exists()
    with tidied(tmp_path):
        assert not left.exists()
        left.write_text("mine")
        with tidied(tmp_path):
            assert left.exists()


def test_half_a_measurement_is_not_sent_since_a_row_cannot_be_completed():
    lines = [{"epoch": epoch, "split": split} for epoch in (0.0, 0.5) for split in ("train", "test")]
    assert whole_measurements(lines) == lines
    assert whole_measurements(lines[:3]) == lines[:2]
    assert whole_measurements(lines[:1]) == whole_measurements([]) == []


def test_a_signal_while_a_model_is_loaded_stops_the_run_and_is_no_failure_of_the_model(tmp_path, monkeypatch):
    def signalled(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("sivgap.models.load.AutoModelForCausalLM.from_pretrained", signalled)
    with pytest.raises(Stopped, match="SIGTERM before the run was under way"):
        train(config(tmp_path))
    (status,) = tmp_path.glob("*/status.json")
    assert json.loads(status.read_text())["state"] == "stopped"
