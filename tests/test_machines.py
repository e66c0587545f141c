"""What the machines of a run tell each other, and how the processes of one machine wait for the first."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from torch.distributed import HashStore

from sivgap.errors import RankDied, RunError
from sivgap.parallel import peers as others
from sivgap.parallel.heartbeat import Heartbeat, interface_towards, machine
from sivgap.parallel.neighbours import waited_for
from sivgap.parallel.peers import FollowerPeers, LeaderPeers
from sivgap.parallel.place import Place
from sivgap.parallel.verdict import End, end_file, log_file, read_end
from sivgap.runtime.files import write_json
from sivgap.runtime.signals import StopRequest


def until(true, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_machine_is_heard_until_it_falls_silent():
    store = HashStore()
    one, other = Heartbeat(store, machine(0), [machine(1)]), Heartbeat(store, machine(1), [machine(0)])
    other.say(host="b", ended=[])
    until(lambda: one.of(machine(1)).get("host") == "b")
    other.say(ended=[0])
    until(lambda: one.of(machine(1))["ended"] == [0])
    other.close()
    until(lambda: one.silence(machine(1)) > 1)
    one.close()


@pytest.fixture
def three(monkeypatch):
    """A run of three machines, whose launcher has started 2, 1 and 4 processes: the line of each, and what leads."""
    store, place = HashStore(), Place(0, 3, 0, 2, "10.0.0.1", 29500)
    monkeypatch.setattr(others, "open_store", lambda _: store)
    lines = [Heartbeat(store, machine(node), ["run"]) for node in (1, 2)]
    for line, processes in zip(lines, (1, 4), strict=True):
        line.say(host="elsewhere", processes=processes)
    with LeaderPeers.open(place, StopRequest()) as leads:
        yield leads, lines
    for line in lines:
        line.close()


def test_ranks_are_numbered_through_all_machines(three):
    leads, lines = three
    own = leads.hand_out({"command": "train", "here": 2})
    assert (own["first"], own["here"], own["size"]) == (0, 2, 8)
    until(lambda: "shares" in lines[1].of("run"))
    shares = lines[1].of("run")["shares"]
    assert [(share["first"], share["here"]) for share in shares] == [(0, 2), (2, 2), (4, 4)]
    assert len({tuple(share["meeting"]) for share in shares}) == 1


def test_how_ranks_ended_elsewhere_is_told_to_the_first_machine(three, tmp_path):
    leads, lines = three
    leads.hand_out({"command": "train", "here": 1})
    until(lambda: all("id" in line.of("run") for line in lines))
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    for line, first in zip(lines, (1, 2), strict=True):
        run = line.of("run")["id"]
        line.say(run=run, ended=[], stop=None, report=None)
        follows = FollowerPeers(line, run, first)
        log_file(there, first).write_text("out of memory")
        end = End(1, 1.0, "no memory", "...") if first == 2 else None
        if end is not None:
            write_json(end_file(there, first), vars(end))
        follows.tell([1], None)
        follows.report([1], there)
    assert leads.reports(here, 5) == [1, 1]
    assert sorted(leads.ended()) == [1, 1]
    assert read_end(here, 2) == End(1, 1.0, "no memory", "...")
    assert log_file(here, 1).read_text() == "out of memory"
    assert not leads.gone()


def test_a_machine_that_left_or_sees_no_directory_is_named(three, tmp_path):
    leads, lines = three
    leads.hand_out({"command": "train", "here": 1})
    until(lambda: all("id" in line.of("run") for line in lines))
    run = lines[0].of("run")["id"]
    lines[0].say(run=run, ended=[], report={"error": "machine 2 of 3 (elsewhere) does not see runs"})
    lines[1].say(run=run, ended=[], report={"codes": [None], "ranks": {}})
    until(lambda: leads._word(2))
    with pytest.raises(RunError, match="does not see runs"):
        leads.reports(tmp_path, 5)
    lines[1].say(report=None, left=True)
    until(leads.gone)
    with pytest.raises(RankDied, match=r"machine 3 of 3 \(elsewhere\) has ended"):
        leads.reports(tmp_path, 5)


WAITING = """
import subprocess, sys
first = "from sivgap.parallel.neighbours import waited_for\\nwith waited_for(2) as tell: {body}"
other = "import sys; from sivgap.parallel.neighbours import wait_for_first; sys.exit(wait_for_first())"
others = [subprocess.Popen([sys.executable, "-c", other]) for _ in range(2)]
subprocess.run([sys.executable, "-c", first])
print([process.wait(20) for process in others])
"""


@pytest.mark.parametrize(
    ("body", "status"), [("tell(75)", 75), ("import os, time; time.sleep(1); os.kill(os.getpid(), 9)", 1)]
)
def test_the_processes_of_a_machine_end_as_the_first_one_does(body, status):
    done = subprocess.run(
        [sys.executable, "-c", WAITING.replace("{body}", body)], capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert done.stdout.strip() == str([status, status])


@pytest.mark.parametrize("mode", [0o777, None])
def test_nobody_else_can_stand_in_the_way_of_a_machines_processes(tmp_path, monkeypatch, mode):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / f"sivgap-{os.getuid()}"
    if mode is None:
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.mkdir()
        folder.chmod(mode)
    with pytest.raises(RunError, match="this user's alone"), waited_for(1):
        pass


def test_the_interface_towards_this_machine_is_the_loopback():
    assert interface_towards("127.0.0.1") == "lo"
    assert interface_towards("no such host") is None
