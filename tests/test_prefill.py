import copy
import warnings
from itertools import combinations

import numpy as np
import pytest
import torch
from local_models import save_model
from transformers import AutoModelForCausalLM

from sivgap.core.rollout import FollowUp, Prompt, Sampling
from sivgap.engines import prefill as reading
from sivgap.engines.hf import HFEngine
from sivgap.engines.model_pass import ModelPass
from sivgap.engines.prefill import beginnings, in_order
from sivgap.errors import Stopped
from sivgap.runtime.rng import derive_key

ANSWERS = ((5,), (6, 7), (6, 8, 9))
WINDOW = 12
KINDS = ["llama", "qwen2", "gemma2", "gemma3", "mistral"]


@pytest.fixture(scope="module", params=KINDS)
def model(request, tmp_path_factory):
    """Layers of `gemma3` (one of two) and `mistral` (all) see but the last `WINDOW` tokens."""
    windows = {
        "gemma3": {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]},
        "mistral": {"sliding_window": WINDOW},
    }
    folder = save_model(tmp_path_factory.mktemp(request.param), request.param, **windows.get(request.param, {}))
    return AutoModelForCausalLM.from_pretrained(folder)


def nll(model, prompt, response) -> float:
    """U(y|x) by one ordinary forward pass."""
    ids = torch.tensor([[*prompt, *response]])
    with torch.no_grad():
        logp = model(input_ids=ids, use_cache=False).logits[0].log_softmax(-1)
    return -sum(float(logp[i, ids[0, i + 1]]) for i in range(len(prompt) - 1, ids.shape[1] - 1))


def asked(problems: int, responses: int, shared: int = 30) -> list[Prompt]:
    """Prompts that begin alike by problem, as a verifier's questions about several responses do."""
    rng = np.random.default_rng(0)

    def text(low: int, high: int) -> tuple[int, ...]:
        return tuple(rng.integers(8, 60, int(rng.integers(low, high))).tolist())

    beginning = [text(shared, shared + 9) for _ in range(problems)]
    return [Prompt((*one, *text(3, 20)), derive_key(i)) for one in beginning for i in range(responses)]


@pytest.mark.parametrize("budget", [64, 4096])
def test_likelihoods_of_prompts_that_share_beginnings_are_those_of_each_alone(model, budget, monkeypatch):
    monkeypatch.setitem(reading.IN_A_PASS, "cpu", budget)
    plain = copy.deepcopy(model)
    plain.set_attn_implementation("eager")
    engine, prompts = HFEngine(copy.deepcopy(model), [2], 0, 64), asked(3, 4)
    found = engine.answer_likelihoods(prompts, ANSWERS)
    expected = [[-nll(plain, prompt.tokens, answer) for answer in ANSWERS] for prompt in prompts]
    assert found == pytest.approx(np.array(expected), abs=3e-4)
    rollouts = engine.rollout(prompts, Sampling(2, 1.0, 24, 1), FollowUp((7, 8, 9), 1.0, 3, ANSWERS))
    for row, response in enumerate(rollouts.tokens):
        p, n = divmod(row, 2)
        assert rollouts.nll[p, n] == pytest.approx(nll(plain, prompts[p].tokens, response), abs=3e-4)
        context = [*prompts[p].tokens, *(response[:-1] if rollouts.finished[p, n] else response), 7, 8, 9]
        for a, answer in enumerate(ANSWERS):
            assert rollouts.answer_logprobs[p, n, a] == pytest.approx(-nll(plain, context, answer), abs=4e-4)
    given = [row.tolist() for row in rollouts.tokens[::2]]
    likelihood = engine.likelihood(prompts, given)
    each = [nll(plain, prompt.tokens, response) for prompt, response in zip(prompts, given, strict=True)]
    assert likelihood == pytest.approx(each, abs=3e-4)


def test_transformers_is_asked_by_the_names_that_it_has_now(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        HFEngine(copy.deepcopy(model), [2], 0, 64).rollout(asked(1, 2), Sampling(2, 1.0, 4, 0), FollowUp((7,), 1.0, 2))


def test_of_responses_to_one_problem_a_verifier_reads_the_problem_once(model, monkeypatch):
    read = []
    monkeypatch.setattr(ModelPass, "read", counting(ModelPass.read, read, lambda ids, mask: int(mask.sum())))
    monkeypatch.setattr(ModelPass, "feed", counting(ModelPass.feed, read, lambda tokens, *_, **__: tokens.numel()))
    prompts = asked(1, 8, shared=200)
    HFEngine(copy.deepcopy(model), [2], 0, 64).answer_likelihoods(prompts, ((5,), (6,)))
    assert sum(read) < 210 + 8 * 20 < sum(len(prompt.tokens) for prompt in prompts) / 4


def test_a_batch_of_verdicts_tells_of_its_progress_while_it_is_read(model, monkeypatch):
    monkeypatch.setitem(reading.IN_A_PASS, "cpu", 64)
    told = []
    HFEngine(copy.deepcopy(model), [2], 0, 64).answer_likelihoods(
        asked(3, 4), ANSWERS, lambda done, tokens: told.append(done)
    )
    assert sum(told) == pytest.approx(12)
    assert max(told) < 12 / 2


def counting(method, counts, count):
    def counted(self, *given, **options):
        counts.append(count(*given, **options))
        return method(self, *given, **options)

    return counted


def test_no_choice_of_groups_leaves_fewer_tokens_to_read():
    rng = np.random.default_rng(1)
    for _ in range(60):
        texts = [tuple(rng.integers(0, 2, int(rng.integers(1, 40))).tolist()) for _ in range(5)]
        texts = [(*texts[0][: int(rng.integers(0, 30))], *text) if rng.random() < 0.7 else text for text in texts]
        groups = beginnings(texts)
        assert sorted(place for _, places in groups for place in places) == list(range(5))
        for shared, places in groups:
            assert all(texts[i][:shared] == texts[places[0]][:shared] and len(texts[i]) > shared for i in places)
        spared = sum(shared * (len(places) - 1) for shared, places in groups)
        assert spared == max(saved(texts, partition) for partition in partitions(list(range(5))))
        order = in_order(texts)
        assert sorted(order) == list(range(5))
    assert beginnings([]) == [] == in_order([])


def saved(texts, partition) -> int:
    total = 0
    for group in partition:
        most = min(len(texts[i]) for i in group) - 1
        same = next((k for k in range(most) if len({texts[i][k] for i in group}) > 1), max(most, 0))
        total += same * (len(group) - 1) if same >= reading.LEAST_SHARED else 0
    return total


def partitions(items):
    if not items:
        yield []
        return
    head, *rest = items
    for size in range(len(rest) + 1):
        for others in combinations(rest, size):
            left = [item for item in rest if item not in others]
            for partition in partitions(left):
                yield [[head, *others], *partition]


def test_a_signal_is_heard_at_the_next_step_of_reading_sampling_and_judging(model):
    engine, prompts = HFEngine(copy.deepcopy(model), [2], 0, 64), asked(2, 2)
    for after in (1, 2, 5, 12):
        heard = []

        def stop(done, tokens, heard=heard, after=after):
            heard.append(tokens)
            if len(heard) == after:
                raise Stopped("now")

        with pytest.raises(Stopped):
            engine.rollout(prompts, Sampling(2, 1.0, 30, 0), FollowUp((7, 8), 1.0, 4), stop)
        assert len(heard) == after
        assert all(0 <= tokens <= 8 for tokens in heard)
    with pytest.raises(Stopped):
        engine.answer_likelihoods(prompts, ((5,), (6,)), stop_at_once)


def stop_at_once(done, tokens):
    raise Stopped("now")
