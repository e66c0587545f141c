"""W&B end to end: ``make wandb-test`` installs a W&B-compatible server in an environment of its own and runs these."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import pytest
from commands import run_command
from services import Lie, liar
from small_runs import TIMES, lines, numbers, start, worker

from sivgap.tracking.wandb_run import flatten

PYTHON = os.environ.get("SIVGAP_TEST_WANDB", "")
pytestmark = [
    pytest.mark.skipif(not PYTHON, reason="needs a server: run make wandb-test"),
    pytest.mark.timeout(600),
]

KEY = "local" + "0" * 40
# A measurement takes a second or two: rows arrive while the run goes on.
RUN = ("experiment=smoke", "engine.threads=1", "epochs=4", "measure.samples=512")
ONLINE = "tracking.wandb.mode=online"


class Server:
    """openwandb in a process of its own; the same `folder` is the same server again."""

    def __init__(self, folder: Path, counts: bool) -> None:
        self.folder, self._counts = folder, counts
        folder.mkdir(exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.env = environment(self.port)

    def start(self) -> None:
        script = Path(__file__).parent / "wandb_server.py"
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [PYTHON, str(script), str(self.port), str(self.folder), *(["counts"] if self._counts else [])],
                stdout=log, stderr=log,
            )  # fmt: skip
        for _ in range(600):
            try:
                return self._get("projects")
            except OSError:
                time.sleep(0.1)
        raise AssertionError((self.folder / "log").read_text())

    def kill(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()

    def rows(self, run_id: str) -> list[dict[str, float]]:
        """All rows of a run, in the order of their arrival."""
        by_key = self._get(f"runs/{run_id}/metrics")["metrics_by_key"]
        points = sorted((p for of_key in by_key.values() for p in of_key), key=lambda p: p["id"])
        rows: list[dict[str, float]] = []
        step = None
        for point in points:
            if point["step"] != step or point["key"] in rows[-1]:
                rows.append({})
            step = point["step"]
            rows[-1][point["key"]] = point["value"]
        return rows

    def run(self, run_id: str) -> dict:
        return self._get(f"runs/{run_id}")["run"]

    def told(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in (self.folder / "told.jsonl").read_text().splitlines()]

    def _get(self, what: str) -> dict:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/v2/{what}")
        request.add_header("Authorization", f"Bearer {KEY}")
        with urllib.request.urlopen(request, timeout=90) as answer:
            return json.load(answer)


def environment(port: int) -> dict[str, str]:
    """What points wandb to a server; rows are sent every half second rather than every fifteen."""
    return {
        "WANDB_BASE_URL": f"http://127.0.0.1:{port}", "WANDB_API_KEY": KEY, "WANDB_MODE": "online",
        "WANDB__FILE_STREAM_TRANSMIT_INTERVAL": "0.5",
    }  # fmt: skip


@pytest.fixture(params=["as it comes", "counts"])
def server(request, tmp_path_factory):
    found = Server(tmp_path_factory.mktemp("server"), request.param == "counts")
    found.start()
    yield found
    found.kill()


@pytest.fixture
def plain(tmp_path_factory):
    found = Server(tmp_path_factory.mktemp("server"), counts=False)
    found.start()
    yield found
    found.kill()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> list[dict]:
    """The numbers of the run when W&B has no part in it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = run_command(folder, "train", *RUN, "tracking.wandb.mode=disabled")
    return numbers(folder / done.stdout.strip())


def train(folder: Path, server: Server, *arguments: str) -> Path:
    done = run_command(folder, "train", *RUN, *arguments, **server.env)
    assert done.returncode == 0, done.stderr
    assert KEY not in done.stdout + done.stderr
    return folder / done.stdout.splitlines()[-1]


def upload(folder: Path, server: Server, *arguments: str) -> str:
    done = run_command(folder, "upload", *(arguments or ("runs='runs/*'",)), **server.env)
    assert done.returncode == 0, done.stderr
    assert KEY not in done.stdout + done.stderr
    return done.stderr


def killed(folder: Path, server: Server, ready, *arguments: str) -> Path:
    """A run that is killed once it is `ready`: its directory."""
    with environ(server.env):
        process = start(folder, *RUN, *arguments)
    for _ in range(1200):
        found = [run for run in folder.glob("runs/tiny-*") if (run / "status.json").exists() and ready(run)]
        if found or process.poll() is not None:
            break
        time.sleep(0.05)
    process.kill()
    _, err = process.communicate()
    assert process.returncode == -signal.SIGKILL, err
    return found[0]


@contextmanager
def environ(values: dict[str, str]):
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def identity(run: Path) -> str:
    return json.loads((run / "status.json").read_text())["id"]


def received(server: Server, run: Path) -> list[float]:
    try:
        return [row["epoch"] for row in server.rows(identity(run))]
    except urllib.error.HTTPError:
        return []


def expected(run: Path) -> list[dict[str, float]]:
    """What W&B should hold: a row a measurement."""
    rows = []
    for _, measured in groupby(lines(run), key=lambda line: line["epoch"]):
        rows.append({})
        for line in measured:
            rows[-1] |= flatten(line)
    return rows


def without_clock(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k.split("/")[-1] not in TIMES} for row in rows]


def holds_no_key(folder: Path) -> bool:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return not [path for path in files if KEY.encode() in path.read_bytes()]


def test_an_online_run_is_there_row_by_row_against_our_own_epoch(tmp_path, plain, undisturbed):
    run = train(tmp_path, plain, ONLINE)
    assert numbers(run) == undisturbed
    assert plain.rows(identity(run)) == expected(run)
    shown = plain.run(identity(run))
    assert shown["display_name"] == run.name
    assert shown["state"] == "finished"
    assert shown["summary"]["solver_accuracy"] == lines(run)[-1]["solver_accuracy"]
    assert shown["config"]["update"]["value"]["learning_rate"] > 0
    metrics = shown["config"]["_wandb"]["value"]["m"]  # 1 is a metric's name, 2 a pattern, 5 which metric is its axis
    axis = next(metric["5"] for metric in metrics if metric.get("2") == "*")
    assert metrics[axis - 1]["1"] == "epoch"
    assert len(list(plain.folder.rglob("samples_*.table.json"))) == len(expected(run))
    assert holds_no_key(tmp_path)


def test_killed_and_resumed_online_is_there_once(tmp_path, server, undisturbed):
    run = killed(tmp_path, server, lambda run: len(received(server, run)) >= 2, ONLINE)
    before = received(server, run)
    assert 2 <= len(before) < len(undisturbed) / 2
    assert train(tmp_path, server, ONLINE) == run
    assert numbers(run) == undisturbed
    assert without_clock(server.rows(identity(run))) == without_clock(expected(run))
    assert len(list(server.folder.rglob("samples_*.table.json"))) >= len(expected(run)) - len(before)


def test_offline_killed_and_resumed_is_sent_by_one_command_once(tmp_path, server, undisturbed):
    run = killed(tmp_path, server, lambda run: (run / "trajectory.jsonl").exists() and len(lines(run)) > 4)
    assert train(tmp_path, server) == run
    assert numbers(run) == undisturbed
    assert len(list(run.glob("wandb/offline-run-*"))) == 2
    assert f"{len(expected(run))} measurements sent" in upload(tmp_path, server)
    assert server.rows(identity(run)) == expected(run)
    tables = sorted(server.folder.rglob("samples_*.table.json"))
    assert len(tables) == len(expected(run))
    assert len(json.loads(tables[0].read_text())["data"]) == 32
    assert "W&B has all of it" in upload(tmp_path, server)
    assert server.rows(identity(run)) == expected(run)
    assert holds_no_key(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}


def test_a_run_that_is_sent_while_it_is_not_over_is_completed_later(tmp_path, server, undisturbed):
    run = killed(tmp_path, server, lambda run: (run / "trajectory.jsonl").exists() and len(lines(run)) > 4)
    upload(tmp_path, server)
    assert len(server.rows(identity(run))) == len(expected(run)) < len(undisturbed) / 2
    train(tmp_path, server)
    upload(tmp_path, server)
    assert without_clock(server.rows(identity(run))) == without_clock(expected(run))


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_sweep_is_a_group_whose_runs_are_called_by_what_differs(tmp_path, plain, mode):
    sweep = train(tmp_path, plain, "epochs=1", "seed=0,1", f"tracking.wandb.mode={mode}", "-m")
    if mode == "offline":
        upload(tmp_path, plain, f"sweep=runs/{sweep.name}")
    runs = sorted(tmp_path.glob("runs/tiny-*"))
    called = {(told["name"], told["displayName"]) for told in plain.told() if told["displayName"]}
    assert called == {(identity(run), f"seed={seed}") for seed, run in enumerate(runs)}
    assert {told["groupName"] for told in plain.told() if told["displayName"]} == {sweep.name}
    for run in runs:
        assert plain.rows(identity(run)) == expected(run)


@pytest.mark.parametrize("end", ["dies", "hangs"])
def test_a_server_that_ends_during_a_run_changes_nothing_and_is_sent_the_rest_later(tmp_path, plain, undisturbed, end):
    with environ(plain.env):
        process = start(tmp_path, *RUN, ONLINE, "tracking.wandb.timeout=10")
    worker(tmp_path)
    (run,) = tmp_path.glob("runs/tiny-*")
    while not received(plain, run):
        time.sleep(0.1)
    plain.kill() if end == "dies" else plain.process.send_signal(signal.SIGSTOP)
    _, err = process.communicate(timeout=150)
    assert process.returncode == 0, err
    assert "W&B failed" in err
    assert numbers(run) == undisturbed
    plain.start() if end == "dies" else plain.process.send_signal(signal.SIGCONT)
    heard = -1
    while heard != (heard := len(received(plain, run))):
        time.sleep(15)  # a server that hung goes through what it had in its ears, of a client that is long gone
    assert len(received(plain, run)) < len(expected(run)) or end == "hangs"
    upload(tmp_path, plain)
    assert plain.rows(identity(run)) == expected(run)
    assert holds_no_key(tmp_path)


def test_a_run_that_was_lied_to_from_beginning_to_end_is_sent_whole_later(tmp_path, plain, undisturbed):
    with liar(Lie(b"<html>it works</html>", kind="text/html")) as address:
        env = {**plain.env, "WANDB_BASE_URL": address}
        done = run_command(tmp_path, "train", *RUN, ONLINE, "tracking.wandb.timeout=5", **env)
        refused = run_command(tmp_path, "upload", "runs='runs/*'", "timeout=5", **env)
    assert done.returncode == 0, done.stderr
    assert "W&B failed" in done.stderr
    assert refused.returncode == 1
    assert "Traceback" not in done.stderr + refused.stderr
    run = tmp_path / done.stdout.strip()
    assert numbers(run) == undisturbed
    upload(tmp_path, plain)
    assert plain.rows(identity(run)) == expected(run)


@pytest.fixture
def deaf():
    """A port that accepts and never answers."""
    with socket.socket() as ear:
        ear.bind(("127.0.0.1", 0))
        ear.listen(64)
        yield ear.getsockname()[1]


def test_a_server_that_never_answers_holds_nothing_up_for_long(tmp_path, undisturbed, deaf):
    env = environment(deaf)
    started = time.monotonic()
    done = run_command(tmp_path, "train", *RUN, ONLINE, "tracking.wandb.timeout=5", **env)
    assert done.returncode == 0, done.stderr
    assert "W&B failed" in done.stderr
    run = tmp_path / done.stdout.strip()
    assert numbers(run) == undisturbed
    own = json.loads((run / "status.json").read_text())["seconds"]
    assert time.monotonic() - started < own + 60
    started = time.monotonic()
    sent = run_command(tmp_path, "upload", f"runs=runs/{run.name}", "timeout=5", **env)
    assert sent.returncode == 1
    assert sent.stderr.splitlines()[-1].startswith("sivgap: 1 of 1 runs not sent")
    assert "Traceback" not in sent.stderr
    assert KEY not in done.stderr + sent.stderr
    assert time.monotonic() - started < 60


def test_without_a_key_the_command_says_so(tmp_path, plain):
    run = train(tmp_path, plain, "epochs=0.5")
    env = {**plain.env, "WANDB_API_KEY": "", "HOME": str(tmp_path)}
    done = run_command(tmp_path, "upload", f"runs=runs/{run.name}", **env)
    assert done.returncode == 1
    assert "API key" in done.stderr
    assert "Traceback" not in done.stderr
