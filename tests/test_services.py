"""Services that are slow, lie or return garbage from beginning to end: a sentence, and later the same numbers."""

import time

import pytest
from services import Lie, liar, reply
from small_runs import composed

from sivgap.config.cross import ApiConfig, CrossConfig
from sivgap.cross.api import responses
from sivgap.cross.external import Response
from sivgap.errors import RunError
from sivgap.progress import Display
from sivgap.tasks.load import Dataset
from sivgap.tasks.problem import Problem

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
    assert time.monotonic() - started < 15
    with liar(Lie(GOOD)) as address:
        assert set(collect(address).values()) == {Response("four")}


@pytest.mark.parametrize("count", [-(10**9), 1e999, "many", None, True])
def test_an_endpoint_that_states_no_tokens_or_less_than_none_is_taken_to_charge_the_most(collect, count):
    cheap = Lie(reply("four", prompt_tokens=count, completion_tokens=count))
    with liar(cheap) as address, pytest.raises(RunError, match="max_cost"):
        collect(address, input_price=1e4, output_price=1e4, max_cost=0.5, concurrency=1)
