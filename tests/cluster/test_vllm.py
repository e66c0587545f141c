"""Engine vllm against a real vLLM: ``make vllm-test`` installs its build for processors beside sivgap."""

import os
from collections import Counter

import numpy as np
import pytest
import torch
from local_models import save_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from sivgap.config.embedded import WEIGHTS
from sivgap.config.engine import EngineConfig
from sivgap.config.model import ModelConfig, ModelSource
from sivgap.config.update import UpdateConfig
from sivgap.core.example import Example
from sivgap.core.rollout import FollowUp, Prompt, Sampling
from sivgap.engines.hf import HFEngine
from sivgap.engines.stop import StopText
from sivgap.errors import RunError
from sivgap.runtime.rng import derive_key
from sivgap.update.sft import Sft

pytestmark = [
    pytest.mark.skipif(not os.environ.get("SIVGAP_TEST_VLLM"), reason="needs vLLM: run make vllm-test"),
    pytest.mark.timeout(900),
]

QUESTION = (7, 8, 9)
ANSWERS = ((5,), (6, 7), (6, 8, 9), (6, 8, 10))
RANK = 4
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CLOSE = 1e-3
RUNNING: list = []


def folder_of(name: str, factory) -> str:
    return str(WEIGHTS if name == "tiny" else save_model(factory.mktemp(name), name, hidden_size=128))


def engine(folder, model, batch_size=64, adapters=False, stop=None):
    """The engine; the one before is closed, for a process can have one at a time."""
    from vllm.distributed import cleanup_dist_env_and_memory

    from sivgap.engines.vllm import VLLMEngine
    from sivgap.engines.vllm_start import start_vllm

    while RUNNING:
        RUNNING.pop()._llm.llm_engine.engine_core.shutdown()
        cleanup_dist_env_and_memory()
    config = EngineConfig(name="vllm", batch_size=batch_size)
    llm = start_vllm(
        ModelSource(path=folder), "tiny", torch.float32, config, RANK if adapters else None, texts=stop is not None
    )
    RUNNING.append(VLLMEngine(llm, model, [2], batch_size, (5, 6, 7, 8, 9), adapters, stop))
    return RUNNING[0]


def fresh(folder):
    return AutoModelForCausalLM.from_pretrained(folder)


@pytest.fixture(scope="module", params=["tiny", "llama", "phi3", "qwen2"])
def both(request, tmp_path_factory):
    """The same model behind vllm and behind hf."""
    folder = folder_of(request.param, tmp_path_factory)
    return engine(folder, fresh(folder)), HFEngine(fresh(folder), [2], 0, 64)


def prompts(count: int) -> list[Prompt]:
    rng = np.random.default_rng(0)
    return [Prompt(tuple(map(int, rng.integers(4, 27, int(rng.integers(3, 12))))), derive_key(i)) for i in range(count)]


def test_likelihoods_are_those_of_hf(both):
    vllm, hf = both
    asked = prompts(6)
    for sampling in (Sampling(3, 1.0, 20, 1), Sampling(3, 0.6, 20, 2, top_p=0.8)):
        drawn = vllm.rollout(asked, sampling, FollowUp(QUESTION, 1.0, 3, ANSWERS))
        each = [prompt for prompt in asked for _ in range(3)]
        assert drawn.nll.ravel() == pytest.approx(hf.likelihood(each, drawn.tokens), abs=CLOSE)
        assert vllm.likelihood(each, drawn.tokens) == pytest.approx(drawn.nll.ravel(), abs=CLOSE)
        behind = [
            Prompt((*p.tokens, *map(int, body), *QUESTION), 0) for p, body in zip(each, drawn.bodies, strict=True)
        ]
        expected = hf.answer_likelihoods(behind, ANSWERS)
        assert drawn.answer_logprobs.reshape(-1, len(ANSWERS)) == pytest.approx(expected, abs=CLOSE)
        assert vllm.answer_likelihoods(behind, ANSWERS) == pytest.approx(expected, abs=CLOSE)
        assert [len(row) for row in drawn.tokens] == drawn.length.ravel().tolist()
        assert [int(row[-1] == 2) for row in drawn.tokens] == drawn.ending.ravel().tolist()
        assert drawn.generated == drawn.length.sum()


def test_greedy_texts_and_verdicts_are_those_of_hf(both):
    vllm, hf = both
    asked, sampling, ask = prompts(8), Sampling(2, 0.0, 24, 3), FollowUp(QUESTION, 0.0, 4)
    ours, theirs = vllm.rollout(asked, sampling, ask), hf.rollout(asked, sampling, ask)
    assert [row.tolist() for row in ours.tokens] == [row.tolist() for row in theirs.tokens]
    assert [row.tolist() for row in ours.verdicts] == [row.tolist() for row in theirs.verdicts]
    assert ours.nll == pytest.approx(theirs.nll, abs=CLOSE)
    assert ours.ending.tolist() == theirs.ending.tolist()
    assert ours.generated == theirs.generated


def test_a_response_belongs_to_its_prompt_and_number_not_to_its_batch(both):
    vllm, _ = both
    asked, ask = prompts(8), FollowUp(QUESTION, 0.7, 4)
    whole = vllm.rollout(asked, Sampling(4, 1.0, 16, derive_key(3)), ask)
    vllm._room = 5
    backwards = vllm.rollout(asked[::-1], Sampling(4, 1.0, 16, derive_key(3)), ask)
    later = vllm.rollout(asked, Sampling(2, 1.0, 16, derive_key(3), first=2), ask)
    vllm._room = 64
    twins = [row for p in range(7, -1, -1) for row in range(4 * p, 4 * p + 4)]
    rest = [row for row in range(32) if row % 4 >= 2]
    for other, rows in ((backwards, twins), (later, rest)):
        assert [row.tolist() for row in other.tokens] == [whole.tokens[row].tolist() for row in rows]
        assert [row.tolist() for row in other.verdicts] == [whole.verdicts[row].tolist() for row in rows]
    assert len({(row // 4, whole.tokens[row].tobytes()) for row in range(32)}) > 12


def test_on_batch_hears_of_every_prompt_and_token_and_may_leave(both):
    vllm, _ = both
    heard = []
    drawn = vllm.rollout(
        prompts(6), Sampling(2, 1.0, 12, 0), FollowUp(QUESTION, 1.0, 3, ANSWERS), lambda *d: heard.append(d)
    )
    assert np.sum(heard, axis=0).tolist() == [6, drawn.generated]

    def leave(done: int, tokens: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vllm.rollout(prompts(6), Sampling(2, 1.0, 12, 0), None, leave)
    assert not vllm._llm.llm_engine.has_unfinished_requests()
    again = vllm.rollout(prompts(6), Sampling(2, 1.0, 12, 0))
    assert [row.tolist() for row in again.tokens] == [row.tolist() for row in drawn.tokens]


@pytest.fixture
def tiny():
    return engine(str(WEIGHTS), fresh(WEIGHTS), batch_size=256)


def test_samples_follow_the_distribution_at_their_temperature_and_nucleus(tiny):
    prompt, many = (1, 19, 7, 14), 4000
    with torch.no_grad():
        logits = fresh(WEIGHTS)(input_ids=torch.tensor([prompt])).logits[0, -1].double()
    for temperature, top_p in ((1.0, 1.0), (2.0, 1.0), (1.5, 0.8)):
        probability = (logits / temperature).softmax(-1).numpy()
        order = np.argsort(-probability)
        keep = order[: int((np.cumsum(probability[order]) < top_p).sum()) + 1]
        expected = np.zeros_like(probability)
        expected[keep] = probability[keep] / probability[keep].sum()
        drawn = tiny.rollout([Prompt(prompt, 1)], Sampling(many, temperature, 1, 7, top_p))
        counts = Counter(int(row[0]) for row in drawn.tokens)
        assert set(counts) <= set(map(int, keep))
        seen = np.array([counts[token] for token in range(len(expected))]) / many
        assert np.abs(seen - expected).max() < 4 * np.sqrt(0.25 / many)


def test_a_stop_text_ends_a_response_where_it_does_with_hf():
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    asked = [
        Prompt(tuple(tokenizer(f"Question: {q}\nSolution: ")["input_ids"]), i)
        for i, q in enumerate(("34+9*3", "9*9-12", "3+4", "70-8*5"))
    ]
    stop = StopText(tokenizer, [", Answer: "])
    ours = engine(str(WEIGHTS), fresh(WEIGHTS), stop=stop)
    theirs = HFEngine(fresh(WEIGHTS), [2], 0, 64, stop)
    sampling, ask = Sampling(1, 0.0, 40, 0), FollowUp(QUESTION, 0.0, 3)
    a, b = ours.rollout(asked, sampling, ask), theirs.rollout(asked, sampling, ask)
    assert [row.tolist() for row in a.tokens] == [row.tolist() for row in b.tokens]
    assert a.ending.tolist() == b.ending.tolist()
    assert (a.ending > 1).any() or "Answer" not in tokenizer.decode(b.tokens[0])
    assert [row.tolist() for row in a.verdicts] == [row.tolist() for row in b.verdicts]


def learner(parameters: str, rate: float) -> Sft:
    model = ModelConfig(name="tiny", lora_targets=TARGETS, parameters=857e3, licence="MIT")
    update = UpdateConfig(parameters=parameters, lora_rank=RANK, learning_rate=rate)
    return Sft(fresh(WEIGHTS), model, update, 0)


def examples(number: int) -> list[Example]:
    rng = np.random.default_rng(number)
    text = lambda: tuple(map(int, rng.integers(4, 24, 8)))  # noqa: E731
    return [Example(text(), text(), "x") for _ in range(4)]


@pytest.mark.parametrize(("parameters", "adapters"), [("lora", False), ("full", False), ("lora", True)])
def test_hundreds_of_hand_overs_serve_the_weights_in_training(parameters, adapters):
    training = learner(parameters, 1e-3)
    served, reference = engine(str(WEIGHTS), fresh(WEIGHTS), adapters=adapters), HFEngine(fresh(WEIGHTS), [2], 0, 64)
    asked = prompts(4)
    given = [(5, 6, 7, 2)] * 4
    before = served.likelihood(asked, given)
    for number in range(200):
        training.step(examples(number), number)
        served.load(dict(training.merged_weights()), training.write_adapter)
        if number % 20 == 0:
            reference.load(dict(training.merged_weights()))
            assert served.likelihood(asked, given) == pytest.approx(reference.likelihood(asked, given), abs=CLOSE)
    assert np.abs(served.likelihood(asked, given) - before).max() > 1
    if adapters:
        assert len(list(served._folder._root.iterdir())) == 1
        served.load(dict(learner("lora", 1e-3).merged_weights()))
        assert served.likelihood(asked, given) == pytest.approx(before, abs=CLOSE)


@pytest.mark.parametrize("rate", [1e-5, 1e-3])
def test_the_canary_catches_an_adapter_that_vllm_did_not_take(rate):
    from vllm.lora.request import LoRARequest

    training = learner("lora", rate)
    served = engine(str(WEIGHTS), fresh(WEIGHTS), adapters=True)
    for number in range(5):
        training.step(examples(number), number)
    served.load(dict(training.merged_weights()), training.write_adapter)
    write = served._folder.write
    served._folder.write = lambda what: LoRARequest("adapter-1", 1, write(what).lora_path)  # the same id again
    for number in range(5):
        training.step(examples(number), number)
    with pytest.raises(RunError, match="stale"):
        served.load(dict(training.merged_weights()), training.write_adapter)
    served._folder.write = write
    served.load(dict(training.merged_weights()), training.write_adapter)


@pytest.mark.parametrize("rate", [1e-5, 1e-3])
def test_the_canary_catches_weights_that_were_not_reloaded(tiny, rate, monkeypatch):
    training = learner("lora", rate)
    tiny.load(dict(training.merged_weights()))
    for number in range(5):
        training.step(examples(number), number)
    with monkeypatch.context() as patch:
        patch.setattr("sivgap.engines.vllm.reload_merged", lambda *_: None)
        with pytest.raises(RunError, match="stale"):
            tiny.load(dict(training.merged_weights()))
    tiny.load(dict(training.merged_weights()))


def test_a_prefix_that_was_cached_with_the_weights_before_is_not_used(tiny):
    long = [Prompt(tuple(range(4, 24)) * 8, 1)]  # longer than a block of vLLM's cache
    training = learner("full", 1e-3)
    tiny.load(dict(training.merged_weights()))
    before = tiny.rollout(long, Sampling(1, 0.0, 8, 0))
    for number in range(20):
        training.step(examples(number), number)
    tiny.load(dict(training.merged_weights()))
    reference = HFEngine(fresh(WEIGHTS), [2], 0, 64)
    reference.load(dict(training.merged_weights()))
    after = tiny.rollout(long, Sampling(1, 0.0, 8, 0))
    assert after.nll[0] == pytest.approx(reference.likelihood(long, after.tokens), abs=CLOSE)
    assert after.nll != pytest.approx(before.nll, abs=0.01)


def test_more_prompt_than_vllm_reads_in_one_step_is_no_matter(tiny):
    rng = np.random.default_rng(0)
    asked = [Prompt(tuple(map(int, rng.integers(4, 24, 180))), derive_key(i)) for i in range(150)]
    many = tiny.rollout(asked, Sampling(2, 1.0, 2, 0))
    few = tiny.rollout(asked[:2], Sampling(2, 1.0, 2, 0))
    assert [row.tolist() for row in many.tokens[:4]] == [row.tolist() for row in few.tokens]


def test_weights_that_are_not_finite_are_an_error(tiny):
    weights = {name: weight.clone() for name, weight in learner("full", 1e-3).merged_weights()}
    whole = {name: weight.clone() for name, weight in weights.items()}
    weights["model.norm.weight"][0] = float("nan")
    with pytest.raises(RunError, match="not finite"):
        tiny.load(weights)
    tiny.load(whole)
