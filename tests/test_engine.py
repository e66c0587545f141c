import copy

import numpy as np
import pytest
import torch
from local_models import save_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from sivgap.config.embedded import WEIGHTS
from sivgap.core.rollout import FollowUp, Prompt, Sampling
from sivgap.engines.draw import draw
from sivgap.engines.hf import HFEngine
from sivgap.engines.model_pass import ModelPass
from sivgap.engines.stop import StopText
from sivgap.engines.text_blocks import TextBlocks
from sivgap.models import decoder, prepacked_linear
from sivgap.models.decoder import KeyValueCache, decoder_of
from sivgap.models.prepacked_linear import rounded, worth_copying
from sivgap.runtime.rng import derive_key

QUESTION = (7, 8, 9)
ANSWERS = ((5,), (6, 7), (6, 8, 9), (6, 8, 10))


@pytest.fixture(scope="module", params=["tiny", "llama", "phi3", "qwen2", "qwen3"])
def model(request, tmp_path_factory):
    if request.param == "tiny":
        return AutoModelForCausalLM.from_pretrained(WEIGHTS)
    return AutoModelForCausalLM.from_pretrained(save_model(tmp_path_factory.mktemp(request.param), request.param))


def prompts(count: int, vocabulary: int) -> list[Prompt]:
    rng = np.random.default_rng(0)
    return [
        Prompt(tuple(int(t) for t in rng.integers(4, min(vocabulary, 27), int(rng.integers(3, 12)))), derive_key(i))
        for i in range(count)
    ]


def engine(model, batch_size: int) -> HFEngine:
    return HFEngine(model, [2], 0, batch_size)


def sequence_nll(model, prompt, response) -> float:
    """U(y|x) by one ordinary forward pass over the whole sequence."""
    ids = torch.tensor([[*prompt, *response]])
    with torch.no_grad():
        logp = model(input_ids=ids).logits[0].log_softmax(-1)
    at = range(len(prompt) - 1, ids.shape[1] - 1)
    return -sum(float(logp[i, ids[0, i + 1]]) for i in at)


def test_likelihoods_of_the_sampling_pass_are_those_of_an_ordinary_forward_pass(model):
    asked = prompts(5, model.config.vocab_size)
    plain = copy.deepcopy(model)
    plain.set_attn_implementation("eager")
    rollouts = engine(model, 64).rollout(asked, Sampling(3, 0.7, 20, 1), FollowUp(QUESTION, 1.0, 3, ANSWERS))
    for row, response in enumerate(rollouts.tokens):
        p, n = divmod(row, 3)
        assert rollouts.nll[p, n] == pytest.approx(sequence_nll(plain, asked[p].tokens, response), abs=2e-4)
        assert rollouts.length[p, n] == len(response)
        context = [*asked[p].tokens, *(response[:-1] if rollouts.finished[p, n] else response), *QUESTION]
        for a, answer in enumerate(ANSWERS):
            direct = -sequence_nll(plain, context, answer)
            assert rollouts.answer_logprobs[p, n, a] == pytest.approx(direct, abs=3e-4)


def test_a_nucleus_of_one_token_makes_verdicts_greedy(model):
    asked = [Prompt((1, 2, 3 + i), derive_key(i)) for i in range(6)]
    greedy, narrow, wide = (
        engine(model, 64).rollout(asked, Sampling(2, 1.0, 12, 1), follow_up).verdicts
        for follow_up in (
            FollowUp(QUESTION, 0.0, 4), FollowUp(QUESTION, 1.0, 4, top_p=1e-6), FollowUp(QUESTION, 1.0, 4)
        )
    )  # fmt: skip
    assert [v.tolist() for v in narrow] == [v.tolist() for v in greedy]
    assert [v.tolist() for v in wide] != [v.tolist() for v in greedy]


@pytest.mark.parametrize("batch_size", [1, 7, 40, 512])
def test_a_response_does_not_depend_on_batch_size_or_order(model, batch_size):
    asked = prompts(12, model.config.vocab_size)
    sampling, ask = Sampling(4, 1.0, 24, derive_key(3)), FollowUp(QUESTION, 0.5, 4)
    whole = engine(model, 48).rollout(asked, sampling, ask)
    other = engine(model, batch_size).rollout(asked[::-1], sampling, ask)
    backwards = [row for p in range(11, -1, -1) for row in range(4 * p, 4 * p + 4)]
    for row, twin in enumerate(backwards):
        assert whole.tokens[row].tolist() == other.tokens[twin].tolist()
        assert whole.verdicts[row].tolist() == other.verdicts[twin].tolist()
    assert whole.nll == pytest.approx(other.nll[::-1], abs=1e-4)


def long_tailed(model, batch_size: int) -> HFEngine:
    """Every twelfth token ends a response: many are short, and a few as long as they may be."""
    return HFEngine(model, range(2, 2 + model.config.vocab_size // 12), 0, batch_size)


@pytest.mark.parametrize("batch_size", [3, 10, 30])
def test_responses_that_take_the_places_of_others_are_what_they_were(model, batch_size):
    asked = prompts(40, model.config.vocab_size)
    sampling = Sampling(3, 2.0, 30, derive_key(4))
    for ask in (FollowUp(QUESTION, 1.5, 9), FollowUp(QUESTION, 1.0, 3, ANSWERS)):
        alone = long_tailed(model, 10**4).rollout(asked, sampling, ask)
        done, generated = [], []
        found = long_tailed(model, batch_size).rollout(
            asked, sampling, ask, lambda p, g, done=done, generated=generated: (done.append(p), generated.append(g))
        )
        assert [row.tolist() for row in found.tokens] == [row.tolist() for row in alone.tokens]
        assert found.nll == pytest.approx(alone.nll, abs=1e-4)
        assert (found.ending == alone.ending).all()
        assert 0 < alone.ending.mean() < 1
        if ask.answers:
            assert found.answer_logprobs == pytest.approx(alone.answer_logprobs, abs=3e-4)
        else:
            assert [row.tolist() for row in found.verdicts] == [row.tolist() for row in alone.verdicts]
        assert (pytest.approx(sum(done)), sum(generated)) == (40, found.generated)


@pytest.fixture
def passes(monkeypatch) -> list[int]:
    """How many rows each pass of a model behind the prompts is fed."""
    fed = []
    feed = ModelPass.feed

    def counting(self, tokens, *rest, **more):
        fed.append(len(tokens))
        return feed(self, tokens, *rest, **more)

    monkeypatch.setattr(ModelPass, "feed", counting)
    return fed


def test_a_place_that_became_free_is_given_to_another_response(passes):
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS)
    asked, sampling = prompts(256, model.config.vocab_size), Sampling(1, 3.0, 96, 0)
    length = long_tailed(model, 32).rollout(asked, sampling).length[:, 0]
    by_length = length[np.argsort([len(prompt.tokens) for prompt in asked], kind="stable")]
    in_fixed_batches = by_length.reshape(-1, 32).max(1).sum()
    assert len(passes) < 0.6 * in_fixed_batches


def test_temperature_zero_is_greedy_decoding_as_transformers_does_it():
    tokenizer, model = AutoTokenizer.from_pretrained(WEIGHTS), AutoModelForCausalLM.from_pretrained(WEIGHTS)
    text = "Question: 34+9*3\nSolution: "
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    expected = model.generate(ids, do_sample=False, max_new_tokens=40)[0, ids.shape[1] :].tolist()
    rollouts = engine(model, 8).rollout([Prompt(tuple(ids[0].tolist()), 1)], Sampling(2, 0.0, 40, 0))
    assert rollouts.tokens[0].tolist() == rollouts.tokens[1].tolist() == expected


def test_samples_follow_the_distribution_at_their_temperature_and_likelihoods_stay_at_one():
    logits = torch.tensor([2.0, 0.0, -1.0, 1.0])
    uniform = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    token, logp = draw(logits[None], torch.zeros(100_000, dtype=torch.long), uniform, 0.5)
    frequency = torch.bincount(token, minlength=4) / 100_000
    assert frequency.numpy() == pytest.approx((logits / 0.5).softmax(-1).numpy(), abs=2e-5)
    assert logp.numpy() == pytest.approx(logits.log_softmax(-1)[token].double().numpy(), abs=1e-6)


def test_top_p_draws_from_the_smallest_set_that_holds_it_and_likelihoods_stay_those_of_all_tokens():
    rng, many = np.random.default_rng(0), 20_000
    uniform = (torch.arange(many, dtype=torch.float64) + 0.5) / many
    for temperature in (0.7, 1.0, 1.5):
        for top_p in (0.05, 0.3, 0.9, 0.999):
            logits = torch.from_numpy(rng.normal(0, 2, 7))
            probability = (logits / temperature).softmax(-1).numpy()
            subsets = [[i for i in range(7) if bits >> i & 1] for bits in range(1, 128)]
            holding = [s for s in subsets if probability[s].sum() >= top_p]
            nucleus = min(holding, key=lambda s: (len(s), -probability[s].sum()))
            expected = np.zeros(7)
            expected[nucleus] = probability[nucleus] / probability[nucleus].sum()
            token, logp = draw(logits[None], torch.zeros(many, dtype=torch.long), uniform, temperature, top_p)
            assert (torch.bincount(token, minlength=7) / many).numpy() == pytest.approx(expected, abs=1e-4)
            assert logp.numpy() == pytest.approx(logits.log_softmax(-1)[token].numpy(), abs=1e-6)


def test_top_p_of_equal_tokens_takes_no_more_than_it_needs():
    uniform = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    token, _ = draw(torch.zeros(1, 8), torch.zeros(1000, dtype=torch.long), uniform, 1.0, 0.5)
    assert torch.bincount(token, minlength=8).tolist() == [250] * 4 + [0] * 4


def test_top_p_of_one_changes_no_response_and_a_tiny_one_is_greedy(model):
    asked = prompts(6, model.config.vocab_size)
    plain = engine(model, 64).rollout(asked, Sampling(4, 0.7, 24, 5))
    one = engine(model, 64).rollout(asked, Sampling(4, 0.7, 24, 5, top_p=1.0))
    assert [row.tolist() for row in one.tokens] == [row.tolist() for row in plain.tokens]
    assert (one.nll == plain.nll).all()
    greedy = engine(model, 64).rollout(asked, Sampling(4, 0.0, 24, 5))
    smallest = engine(model, 64).rollout(asked, Sampling(4, 0.7, 24, 5, top_p=1e-9))
    assert [row.tolist() for row in smallest.tokens] == [row.tolist() for row in greedy.tokens]
    some = engine(model, 64).rollout(asked, Sampling(4, 0.7, 24, 5, top_p=0.5))
    for row, response in enumerate(some.tokens):
        assert some.nll.flat[row] == pytest.approx(sequence_nll(model, asked[row // 4].tokens, response), abs=2e-4)


def test_a_token_without_probability_is_never_drawn():
    logits = torch.tensor([[float("-inf"), 0.0, float("-inf"), 0.0, float("-inf")]])
    for u in (0.0, 0.5, 1 - 2**-53):
        token, _ = draw(logits, torch.tensor([0]), torch.tensor([u], dtype=torch.float64), 1.0)
        assert int(token) in (1, 3)


def test_a_stop_text_ends_a_response_and_is_not_part_of_what_the_verifier_sees():
    tokenizer, model = AutoTokenizer.from_pretrained(WEIGHTS), AutoModelForCausalLM.from_pretrained(WEIGHTS)
    asked = [
        Prompt(tuple(tokenizer(f"Question: {q}\nSolution: ")["input_ids"]), i)
        for i, q in enumerate(("34+9*3", "9*9-12"))
    ]
    plain = copy.deepcopy(model)
    stop = ", Answer: "
    stopped = HFEngine(model, [2], 0, 8, StopText(tokenizer, [stop])).rollout(
        asked, Sampling(4, 1.0, 40, 0), FollowUp(QUESTION, 0.1, 3, ANSWERS)
    )
    whole = engine(model, 8).rollout(asked, Sampling(4, 1.0, 40, 0))
    for row, body in enumerate(stopped.bodies):
        p, n = divmod(row, 4)
        text = tokenizer.decode(whole.tokens[row], skip_special_tokens=True)
        assert tokenizer.decode(body) == text.split(stop)[0]
        assert tokenizer.decode(stopped.tokens[row]) == text.split(stop)[0] + stop
        context = [*asked[p].tokens, *body, *QUESTION]
        for a, answer in enumerate(ANSWERS):
            direct = -sequence_nll(plain, context, answer)
            assert stopped.answer_logprobs[p, n, a] == pytest.approx(direct, abs=3e-4)


def test_samples_that_agree_so_far_are_computed_once(passes):
    tokenizer, model = AutoTokenizer.from_pretrained(WEIGHTS), AutoModelForCausalLM.from_pretrained(WEIGHTS)
    asked = [
        Prompt(tuple(tokenizer(f"Question: {q}\nSolution: ")["input_ids"]), i)
        for i, q in enumerate(("34+9*3", "9*9-12"))
    ]
    engine(model, 64).rollout(asked, Sampling(16, 0.0, 40, 0), FollowUp(QUESTION, 0.1, 3, ANSWERS))
    assert set(passes) <= {1, 2}  # greedy samples never part: a row for each prompt until it ends
    passes.clear()
    rollouts = engine(model, 64).rollout(asked, Sampling(16, 1.0, 40, 0))
    beginnings = {
        (p, *row[:i]) for j, row in enumerate(rollouts.tokens) for p in (j // 16,) for i in range(1, len(row))
    }
    assert sum(passes) == len(beginnings) < rollouts.length.sum() / 2


@pytest.mark.parametrize("copied", [False, True])
def test_the_lean_pass_makes_the_models_logits_before_and_after_weights_are_handed_over(model, copied, monkeypatch):
    monkeypatch.setattr(decoder, "worth_copying", lambda products: copied and worth_copying(products))
    monkeypatch.setitem(prepacked_linear._WORTH, torch.float32, 0)  # however small the product
    plain, served = copy.deepcopy(model), copy.deepcopy(model)
    hf = engine(served, 64)
    torch.manual_seed(0)
    weights = {name: weight + 0.05 * torch.randn_like(weight) for name, weight in plain.named_parameters()}
    ids = torch.randint(4, min(model.config.vocab_size, 27), (3, 11))
    mask = torch.arange(11) >= torch.tensor([[0], [4], [9]])
    position, ends = (mask.cumsum(1) - 1).clamp_min(0), torch.tensor([10, 10, 10])
    for _ in range(2):
        with torch.inference_mode():
            expected = plain(input_ids=ids, attention_mask=mask, position_ids=position).logits
            found, last = (hf._pass.decoder(ids, position, KeyValueCache(mask).attention, at) for at in (None, ends))
        assert torch.allclose(found[mask], expected[mask], rtol=1e-4, atol=1e-4)
        assert torch.allclose(last[:, 0], found[:, -1], atol=1e-5)
        plain.load_state_dict(weights, strict=False)
        hf.load(weights)


def test_rows_come_in_steps_of_a_sixteenth_at_most():
    steps = [rounded(rows) for rows in range(1, 5000)]
    assert all(0 <= step - rows <= min(63, rows // 16) for rows, step in enumerate(steps, 1))
    assert len({step for step in steps if 512 <= step < 1024}) == 16


def test_a_model_of_another_kind_keeps_its_own_pass(tmp_path):
    llama = AutoModelForCausalLM.from_pretrained(save_model(tmp_path / "llama", "llama"))
    assert decoder_of(llama)[0] is not None
    assert not any(weight.is_inference() for weight in llama.parameters())  # they may be trained
    llama.model.layers[1].self_attn.scaling *= 1.01
    assert "layer 1 makes something else" in decoder_of(llama)[1]
    gemma = AutoModelForCausalLM.from_pretrained(save_model(tmp_path / "gemma2", "gemma2"))
    assert "its modules" in decoder_of(gemma)[1]


@pytest.mark.parametrize("ragged", [False, True])
def test_texts_in_blocks_are_what_was_written(ragged):
    generator = torch.Generator().manual_seed(0)
    rows, capacity = 6, 75
    blocks = TextBlocks([torch.zeros(1, 2, 1, 3)] * 2, rows, capacity)
    dense = torch.zeros(2, 2, rows, 2, capacity, 3)  # layers, keys or values, rows, heads, positions, dim
    filled = torch.tensor([14, 15, 31, 40, 0, 0]) if ragged else torch.zeros(rows, dtype=torch.long)
    live = slice(1, 6)
    for new in (1, 15, 3, 1, 9, 1):
        start = filled[live]
        parts = blocks.parts(live, start[:, None] + torch.arange(new), int(start.min()), int(start.max()))
        for layer in range(2):
            states = torch.randn(2, 5, 2, new, 3, generator=generator)
            blocks.write(layer, parts, *states)
            for row in range(5):
                dense[layer, :, row + 1, :, start[row] : start[row] + new] = states[:, row]
        filled[live] += new
        blocks.copy(torch.tensor([2, 5]), torch.tensor([5, 3]), int(filled.max()))
        dense[:, :, [5, 3]] = dense[:, :, [2, 5]]
        filled[[5, 3]] = filled[[2, 5]]
        width = int(filled.max())
        for layer in range(2):
            texts = zip(*blocks.read(layer, live, width), strict=True)
            for kind, states in enumerate(texts):
                assert torch.equal(torch.cat(states, 1), dense[layer, kind, live, :, :width].flatten(0, 1))
    written = -(-width // 16) if width <= 32 else 4 if width <= 64 else 75 / 16
    assert blocks.nbytes == 2 * 2 * rows * 2 * 3 * 4 * 16 * written
