"""Services that are slow, lie or return garbage from beginning to end: a sentence, and later the same numbers."""

import json
import time
from types import SimpleNamespace

import pytest
from services import Lie, liar, reply
from small_runs import composed
from test_resume import attempt, config

from sivgap.config.cross import ApiConfig, CrossConfig
from sivgap.config.schema import WandbConfig
from sivgap.core.problem import Problem
from sivgap.cross.api import responses
from sivgap.cross.external import Response
from sivgap.errors import RunError
from sivgap.runtime.display import Display
from sivgap.runtime.signals import StopRequest
from sivgap.tasks.load import Dataset
from sivgap.tracking.wandb_run import Source
from sivgap.tracking.wandb_server import ask
from sivgap.tracking.wandb_tracker import WandbTracker

PROBLEMS = [Problem(f"p{i}", f"{i}+{i}", str(2 * i)) for i in range(3)]


@pytest.fixture
def collect(tmp_path, monkeypatch):
    """Responses of an endpoint to three problems, with one attempt at each and one more."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setattr("sivgap.cross.api._FIRST_WAIT", 0.01)
    small = composed("experiment=smoke", "sampling.max_new_tokens=8")

    def collected(address: str, **settings: object) -> dict[str, Response]:
        api = {"model": "m", "base_url": f"{address}/v1", "input_price": 1.0, "output_price": 1.0, "timeout": 1.0,
               "retries": 1, "cache": str(tmp_path / "cache"), **settings}  # fmt: skip
        cross = CrossConfig(strategy="early", source="api", api=ApiConfig.model_validate(api))
        return responses(small.model_copy(update={"cross": cross}), Dataset([], [], []), PROBLEMS, Display())

    return collected


GOOD = reply("four", prompt_tokens=9, completion_tokens=2)
GARBAGE = {
    "a page": Lie(b"<html>it works</html>", kind="text/html"),
    "no json": Lie(b'{"choices": [{'),
    "another thing": Lie(b"[1, 2]"),
    "no choice": Lie(b'{"choices": null}'),
    "a number": Lie(reply(17)),
    "half a character": Lie(reply("four \ud800")),
    "busy for ever": Lie(b"", 429, headers=(("retry-after", "\xb2"),)),
    "a byte at a time": Lie(GOOD, pause=0.3),
    "without end": Lie(b" " * 2**16, endless=True),
}  # fmt: skip


@pytest.mark.parametrize("lie", GARBAGE)
def test_an_endpoint_that_says_nothing_else_ends_in_a_sentence_and_a_sound_one_goes_on(collect, lie):
    started = time.monotonic()
    with liar(GARBAGE[lie]) as address, pytest.raises(RunError, match="after 2 attempts"):
        collect(address, concurrency=1)
    assert time.monotonic() - started < 60
    with liar(Lie(GOOD)) as address:
        assert set(collect(address).values()) == {Response("four")}


@pytest.mark.parametrize("count", [-(10**9), 1e999, "many", None, True])
def test_an_endpoint_that_states_no_tokens_or_less_than_none_is_taken_to_charge_the_most(collect, count):
    cheap = Lie(reply("four", prompt_tokens=count, completion_tokens=count))
    with liar(cheap) as address, pytest.raises(RunError, match="max_cost"):
        collect(address, input_price=1e4, output_price=1e4, max_cost=0.5, concurrency=1)


def bucket(**values: object) -> Lie:
    """What W&B says that it holds of a run."""
    return Lie(json.dumps({"data": {"model": {"bucket": values}}}).encode())


HOLDINGS = {
    "a page": Lie(b"<html>it works</html>", kind="text/html"),
    "a list": Lie(b"[]"),
    "depth": Lie(b"[" * 10**5),
    "words": bucket(historyLineCount="many"),
    "no end of rows": bucket(historyLineCount=1e999),
    "half a summary": bucket(historyLineCount=2, summaryMetrics="[[["),
    "a byte at a time": Lie(b'{"data": null}', pause=0.3),
    "without end": Lie(b" " * 2**16, endless=True),
}


@pytest.mark.parametrize("lie", HOLDINGS)
def test_a_wandb_that_talks_nonsense_about_what_it_holds_takes_no_longer_than_allowed(monkeypatch, lie):
    monkeypatch.setattr("wandb.Api", lambda **_: SimpleNamespace(api_key="k"))
    with liar(HOLDINGS[lie]) as address:
        run = SimpleNamespace(
            project="p", entity="e", id="i", starting_step=0, settings=SimpleNamespace(base_url=address)
        )
        started = time.monotonic()
        with pytest.raises(Exception):  # noqa: B017 - of whatever kind: who asks is prepared for any
            ask(run, 1.0)
        assert time.monotonic() - started < 30


@pytest.fixture
def as_wandb(monkeypatch):
    """Makes an address that of W&B."""
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    return lambda address: monkeypatch.setenv("WANDB_BASE_URL", address)


@pytest.mark.parametrize("lie", ["a page", "a byte at a time", "a list"])
def test_a_wandb_that_talks_nonsense_on_opening_is_off_and_says_so_once(tmp_path, as_wandb, lie):
    said: list[str] = []
    line = {"epoch": 0.0, "split": "test", "solver_accuracy": 0.5}
    started = time.monotonic()
    with liar(HOLDINGS[lie]) as address:
        as_wandb(address)
        tracker = WandbTracker(WandbConfig(mode="online", timeout=1), Source(lie[2:], "n", tmp_path, {}), said.append)
        tracker.log([line], [])
        tracker.finish([line], failed=False)
    assert len(said) == 1
    assert "sivgap.upload sends it later" in said[0]
    assert time.monotonic() - started < 60


def test_a_run_whose_wandb_never_ends_its_answer_has_the_same_numbers(tmp_path, as_wandb, capfd, whole):
    with liar(HOLDINGS["without end"]) as address:
        as_wandb(address)
        done, lines = attempt(config(tmp_path, "tracking.wandb.mode=online", "tracking.wandb.timeout=1"), StopRequest())
    assert done
    assert lines == whole
    assert capfd.readouterr().err.count("W&B failed and is off") == 1
