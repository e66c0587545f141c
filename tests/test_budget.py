"""Work at once is bounded by memory; what comes of it is the same."""

import numpy as np
import pytest
from transformers import AutoModelForCausalLM

from sivgap.config.embedded import WEIGHTS
from sivgap.core.rollout import FollowUp, Prompt, Sampling
from sivgap.engines import budget, hf
from sivgap.engines.budget import rows_under_way, token_bytes
from sivgap.engines.hf import HFEngine
from sivgap.engines.prefix_cache import PrefixCache
from sivgap.models.shape import stated
from sivgap.runtime.rng import derive_key
from sivgap.update.activations import OF_ONE_TEXT, ON_A_PROCESSOR, on_a_processor

QUESTION = (7, 8, 9)
ANSWERS = ((5,), (6, 7), (6, 8, 9), (6, 8, 10))
LONGEST = 24


@pytest.fixture(scope="module")
def engine() -> HFEngine:
    return HFEngine(AutoModelForCausalLM.from_pretrained(WEIGHTS), [2], 0, 256)


def prompts(count: int) -> list[Prompt]:
    rng = np.random.default_rng(0)
    return [Prompt(tuple(rng.integers(4, 27, int(rng.integers(3, 12))).tolist()), derive_key(i)) for i in range(count)]


def test_rows_are_whole_prompts_one_at_least_and_what_memory_holds():
    assert rows_under_way(256, 8, tokens=10, each=100, budget=1e9) == 256
    assert rows_under_way(250, 8, tokens=10, each=100, budget=1e9) == 248
    assert rows_under_way(256, 8, tokens=10, each=100, budget=64_900) == 64
    assert rows_under_way(256, 8, tokens=10, each=100, budget=1) == 8


@pytest.mark.parametrize("answers", [ANSWERS, ()])
def test_responses_and_verdicts_do_not_depend_on_the_memory_there_is(engine, monkeypatch, answers):
    asked, sampling = prompts(12), Sampling(4, 1.0, LONGEST, 1)
    follow_up = FollowUp(QUESTION, 1.0, 3, answers)
    free = engine.rollout(asked, sampling, follow_up)
    caches = []
    monkeypatch.setattr(hf, "PrefixCache", lambda *given: caches.append(PrefixCache(*given)) or caches[-1])
    room = 20 * 48 * token_bytes(stated(engine.model.config), 4)
    for where, what in ((budget.KEYS_AND_VALUES, room), (budget.SCORES, 1), (budget.LOGITS, 1)):
        monkeypatch.setitem(where, "cpu", what)
    bounded = engine.rollout(asked, sampling, follow_up)
    assert all(map(np.array_equal, bounded.tokens, free.tokens))
    assert bounded.nll == pytest.approx(free.nll, abs=1e-4)
    if answers:
        assert bounded.answer_logprobs == pytest.approx(free.answer_logprobs, abs=1e-4)
    else:
        assert all(map(np.array_equal, bounded.verdicts, free.verdicts))
    assert caches
    assert all(0 < cache.texts.nbytes <= room for cache in caches)


def test_likelihoods_of_answers_do_not_depend_on_the_memory_there_is(engine, monkeypatch):
    asked = prompts(12)
    free = engine.answer_likelihoods(asked, ANSWERS)
    monkeypatch.setitem(budget.KEYS_AND_VALUES, "cpu", 30 * token_bytes(stated(engine.model.config), 4))
    monkeypatch.setitem(budget.LOGITS, "cpu", 1)
    assert engine.answer_likelihoods(asked, ANSWERS) == pytest.approx(free, abs=1e-4)


def test_a_text_may_take_more_activations_than_several_before_they_are_computed_twice():
    assert on_a_processor(2**20, 100) == ON_A_PROCESSOR / 2**20
    between = 1.5 * ON_A_PROCESSOR / 2**20
    assert on_a_processor(2**20, between) == between
    assert on_a_processor(2**20, 2 * OF_ONE_TEXT / 2**20) < OF_ONE_TEXT / 2**20
