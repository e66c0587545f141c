"""How many threads a run gets."""

import json

import pytest
import torch
from small_runs import composed, start, worker

from sivgap.engines import threads
from sivgap.engines.threads import fewest, measure, settle_threads
from sivgap.models.shape import shape_of


@pytest.fixture
def four(monkeypatch):
    """A machine on which torch would take four; the number of this process is put back."""
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "_allowed", lambda: 4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({1: 1.0, 2: 0.53, 4: 0.28}, 4),  # an idle machine
        ({1: 1.0, 2: 9.0, 4: 12.0}, 1),  # a busy one
        ({1: 1.0, 2: 0.95, 4: 0.92}, 1),  # not worth it
        ({1: 1.0, 2: 0.5, 4: 0.49}, 2),
        ({1: 1.0, 2: 1.1, 4: 0.4}, 4),
        ({1: 1.0}, 1),
    ],
)
def test_the_fewest_threads_are_taken_that_more_do_not_clearly_beat(seconds, expected):
    assert fewest(seconds) == expected


def test_all_powers_of_two_up_to_the_most_are_tried(four):
    assert list(measure(shape_of(composed().model), 64, 4)) == [1, 2, 4]
    assert list(measure(shape_of(composed().model), 64, 3)) == [1, 2, 3]


def test_what_was_set_counts_then_what_a_run_began_with_then_what_is_measured(four, monkeypatch):
    began = {"hardware": {"threads": 2}}
    assert (settle_threads(composed("engine.threads=3"), began), torch.get_num_threads()) == ("set", 3)
    assert (settle_threads(composed(), began), torch.get_num_threads()) == ("kept", 2)
    monkeypatch.setattr(threads, "measure", lambda shape, rows, most: {1: 1.0, 2: 0.9, most: 0.3})
    assert (settle_threads(composed(), {}), torch.get_num_threads()) == ("measured", 4)
    too_many = {"hardware": {"threads": 8}}  # begun on a larger machine
    assert (settle_threads(composed(), too_many), torch.get_num_threads()) == ("measured", 4)


def test_a_run_that_was_killed_goes_on_with_the_threads_it_began_with(tmp_path):
    small = ("experiment=smoke", "tracking.wandb.mode=disabled")
    first = start(tmp_path, *small, "engine.threads=1", OMP_NUM_THREADS="2")
    worker(tmp_path)
    first.kill()
    first.communicate()
    again = start(tmp_path, *small, OMP_NUM_THREADS="2")
    said, _ = again.communicate(timeout=240)
    hardware = json.loads((tmp_path / said.strip() / "status.json").read_text())["hardware"]
    assert (hardware["threads"], hardware["threads_from"]) == (1, "kept")
