"""External responses from an OpenAI-compatible endpoint: a real server on loopback, behind a proxy that misbehaves."""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from commands import run_command
from local_models import save_model
from small_runs import composed

from sivgap.config.cross import ApiConfig, CrossConfig
from sivgap.core.problem import Problem
from sivgap.cross.api import responses
from sivgap.cross.external import Response
from sivgap.errors import ConfigError, RunError
from sivgap.runtime.display import Display
from sivgap.tasks.load import Dataset

KEY = "sk-test-0123456789abcdef"
PRICES = ("cross.api.input_price=1", "cross.api.output_price=2")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> str:
    """``transformers serve`` with a small random model; its address."""
    pytest.importorskip("fastapi")
    pytest.importorskip("openai")
    folder = save_model(tmp_path_factory.mktemp("served"), "llama")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(folder), "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--device", "cpu"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{address}/health", timeout=1)
            break
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    yield f"{address} {folder}"
    process.terminate()
    process.wait(20)


class Proxy:
    """Hands requests on to the server, after the faults that were ordered; remembers what was asked."""

    def __init__(self, server: str) -> None:
        self.target, self.model = server.split()
        self.faults: list[str] = []
        self.seen: list[dict] = []
        self.done = Counter()
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler) -> None:  # noqa: N805
                body = handler.rfile.read(int(handler.headers["content-length"]))
                with lock:
                    self.seen.append({"body": json.loads(body), "key": handler.headers["authorization"]})
                    fault = self.faults.pop(0) if self.faults else "pass"
                    self.done[fault] += 1
                self._reply(handler, fault, body)

            def log_message(handler, *_) -> None:  # noqa: N805
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._http.server_port}/v1"

    def _reply(self, handler: BaseHTTPRequestHandler, fault: str, body: bytes) -> None:
        def send(status: int, text: bytes, **headers: str) -> None:
            handler.send_response(status)
            handler.send_header("content-type", "application/json")
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.send_header("content-length", str(len(text)))
            handler.end_headers()
            handler.wfile.write(text)

        if fault == "pass":
            request = urllib.request.Request(
                f"{self.target}/v1/chat/completions", body, {"content-type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=60) as reply:
                send(200, reply.read())
        elif fault == "429":
            send(429, b'{"error": {"message": "slow down"}}', retry_after="1")
        elif fault == "500":
            send(500, b"upstream on fire")
        elif fault == "401":
            send(401, json.dumps({"error": {"message": f"bad key {handler.headers['authorization']}"}}).encode())
        elif fault == "hang":
            time.sleep(6)
        elif fault == "cut":
            handler.send_response(200)
            handler.send_header("content-length", "1000")
            handler.end_headers()
            handler.wfile.write(b'{"choices": [')
            handler.wfile.flush()
            handler.connection.shutdown(socket.SHUT_RDWR)
        elif fault == "garbage":
            send(200, b"<html>it works</html>")
        elif fault == "strange":
            send(200, b'{"choices": [], "usage": null}')
        elif fault == "silent":
            send(200, b'{"choices": [{"message": {"content": null}, "finish_reason": "stop"}]}')

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def proxy(server):
    found = Proxy(server)
    yield found
    found.close()


@pytest.fixture(scope="module")
def student(tmp_path_factory) -> Path:
    return save_model(tmp_path_factory.mktemp("student"), "qwen2")


def run(folder: Path, student: Path, proxy: Proxy, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command(
        folder, "train", "experiment=smoke", "epochs=0.5", "n=2", "sampling.max_new_tokens=8", "engine.threads=1",
        "model=custom", f"model.path={student}", "tracking.wandb.mode=disabled", "cross.strategy=early",
        "cross.source=api", f"cross.api.model={proxy.model}", f"cross.api.base_url={proxy.address}", *PRICES,
        "cross.api.timeout=3", f"cross.api.cache={folder}/cache", *arguments, OPENAI_API_KEY=KEY,
    )  # fmt: skip


def test_every_fault_is_survived_nothing_is_paid_twice_and_the_key_stays_hidden(tmp_path, student, proxy):
    proxy.faults = ["429", "500", "hang", "cut", "garbage", "strange", "silent", "429", "cut"]
    done = run(tmp_path, student, proxy, "cross.api.concurrency=4")
    assert done.returncode == 0, done.stderr
    assert proxy.done["pass"] == 16
    assert len(proxy.seen) == 25
    assert "16 from" in done.stderr
    assert "$0.0" in done.stderr
    folder = tmp_path / done.stdout.splitlines()[-1]
    given = [json.loads(line) for line in (folder / "external.jsonl").read_text().splitlines()]
    assert len(given) == 16
    assert all(record["text"].strip() for record in given)
    assert proxy.seen[0]["key"] == f"Bearer {KEY}"
    assert proxy.seen[0]["body"]["max_completion_tokens"] == 8
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in written if KEY.encode() in path.read_bytes()]
    assert KEY not in done.stderr + done.stdout
    again = run(tmp_path, student, proxy, "fresh=true")
    assert again.returncode == 0, again.stderr
    assert len(proxy.seen) == 25
    other = run(tmp_path, student, proxy, "cross.budget=0.5")  # nested: the first 16 of 32 are the same
    assert other.returncode == 0, other.stderr
    assert len(proxy.seen) == 41


SMALL = composed("experiment=smoke", "sampling.max_new_tokens=8")


def collect(folder: Path, proxy: Proxy, **api) -> dict[str, Response]:
    """Responses to 16 problems, in this process."""
    problems = [Problem(f"p{i}", f"{i}+{i}", str(2 * i)) for i in range(16)]
    settings = {
        "model": proxy.model, "base_url": proxy.address, "input_price": 1.0, "output_price": 1e5, "timeout": 3.0,
        "cache": str(folder / "cache"), **api,
    }  # fmt: skip
    cross = CrossConfig(strategy="early", source="api", api=ApiConfig(**settings))
    return responses(SMALL.model_copy(update={"cross": cross}), Dataset([], [], []), problems, Display())


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def test_the_cap_holds_and_what_was_paid_for_is_kept(tmp_path, proxy, key):
    with pytest.raises(RunError, match=r"cross.api.max_cost: \$.* of \$4 are spent"):  # a response costs .8
        collect(tmp_path, proxy, concurrency=3, max_cost=4.0)
    assert 1 <= proxy.done["pass"] <= 4
    assert len(collect(tmp_path, proxy, concurrency=3, max_cost=100.0)) == 16
    assert proxy.done["pass"] == 16


def test_an_attempt_whose_fate_is_unknown_counts_in_full(tmp_path, proxy, key):
    proxy.faults = ["cut"] * 4
    with pytest.raises(RunError, match="max_cost"):
        collect(tmp_path, proxy, concurrency=1, max_cost=2.5)
    assert len(proxy.seen) == 3


def test_a_refused_key_ends_it_at_once_and_is_not_shown(tmp_path, proxy, key):
    proxy.faults = ["401"] * 100
    with pytest.raises(RunError, match="status 401") as found:
        collect(tmp_path, proxy, concurrency=1)
    assert KEY not in str(found.value)
    assert len(proxy.seen) == 1


def test_without_a_key_nothing_begins(tmp_path, proxy, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        collect(tmp_path, proxy)
    assert not proxy.seen


def test_an_endpoint_that_never_answers_is_given_up(tmp_path, proxy, key):
    proxy.faults = ["500"] * 100
    with pytest.raises(RunError, match="after 2 attempts"):
        collect(tmp_path, proxy, retries=1, concurrency=1)
    assert len(proxy.seen) == 2


def test_a_second_process_waits_and_pays_nothing(tmp_path, proxy, key):
    with ThreadPoolExecutor(2) as both:
        found = [both.submit(collect, tmp_path, proxy, max_cost=100.0) for _ in range(2)]
        first, second = (one.result() for one in found)
    assert first == second
    assert len(proxy.seen) == 16


def test_a_cap_that_is_reached_never_waits_for_nothing(tmp_path, proxy, key):
    """Costs that are no exact binary fractions: what is set aside must come back to nothing."""
    for cents in (37, 73):
        price = {"input_price": 3.3, "output_price": cents * 1111.1}
        with pytest.raises(RunError, match="max_cost"):
            collect(tmp_path / str(cents), proxy, concurrency=5, max_cost=cents * 0.03, **price)
