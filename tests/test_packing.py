import numpy as np
import pytest
import torch
from local_models import save_model
from transformers import AutoModelForCausalLM

from sivgap.config.model import ModelConfig
from sivgap.config.update import UpdateConfig
from sivgap.core.example import Example
from sivgap.models.head import output_head, token_nll
from sivgap.models.packing import packed, read_packed
from sivgap.update import activations
from sivgap.update.micro_batches import micro_batches
from sivgap.update.sft import Sft

CPU = torch.device("cpu")


def few_shot(count: int) -> list[Example]:
    """Examples whose prompts share a long beginning, as few-shot prompts do; the last shares nothing."""
    rng = np.random.default_rng(0)

    def text(length: int) -> tuple[int, ...]:
        return tuple(rng.integers(8, 60, length).tolist())

    shots = text(40)
    examples = [Example((*shots, *text(int(rng.integers(3, 9)))), text(int(rng.integers(2, 8))), str(i))
                for i in range(count - 1)]  # fmt: skip
    return [*examples, Example(text(12), text(5), "alone")]


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_what_texts_begin_with_alike_is_read_once_and_learnt_from_as_before(architecture, tmp_path):
    window = {"sliding_window": 9, "layer_types": ["sliding_attention", "full_attention"]}
    folder = save_model(tmp_path, architecture, **(window if architecture == "gemma3" else {}))
    model = AutoModelForCausalLM.from_pretrained(folder).float()
    head = output_head(model)
    examples = few_shot(5)
    texts, counted = [e.prompt + e.response for e in examples], [len(e.response) for e in examples]
    plain = [model(torch.tensor([text])).logits[0, :-1].log_softmax(-1) for text in texts]
    expected = torch.cat(
        [-p[-n:].gather(1, torch.tensor(t[-n:])[:, None])[:, 0] for p, t, n in zip(plain, texts, counted, strict=True)]
    )
    read_packed(model)
    together = packed(texts, counted, CPU)
    assert together.ids.shape[1] == sum(map(len, texts)) - 3 * 40
    found = token_nll(model, head, together)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    weight = torch.linspace(0, 1, len(found))
    gradients = [torch.autograd.grad((nll * weight).sum(), list(model.parameters())) for nll in (found, expected)]
    for mine, theirs in zip(*gradients, strict=True):
        assert float((mine - theirs).norm()) <= 1e-3 * float(theirs.norm()) + 1e-6


def test_micro_batches_hold_every_example_once_and_as_many_tokens_as_asked():
    examples = few_shot(12)
    for size, tokens in ((12, 1e9), (5, 1e9), (12, 150.0), (12, 1.0)):
        portions = micro_batches(examples, size, tokens)
        assert sorted(e.problem_id for portion in portions for e in portion) == sorted(e.problem_id for e in examples)
        assert all(len(portion) <= size for portion in portions)
        for portion in portions:
            texts = [e.prompt + e.response for e in portion]
            read = packed(texts, [len(e.response) for e in portion], CPU).ids.shape[1]
            assert len(portion) == 1 or read <= tokens + len(portion)  # each keeps its prompt's last token
    assert micro_batches(examples, 12, 1e9) == [examples]
    assert len(micro_batches(examples, 12, 150.0)) < 6  # one by one they have 600 tokens
    assert micro_batches([], 4, 10.0) == []


def test_a_text_that_does_not_fit_has_its_activations_computed_twice_and_teaches_the_same(tmp_path, monkeypatch):
    folder, examples = save_model(tmp_path, "llama", num_hidden_layers=8), few_shot(6)
    settings = ModelConfig(name="m", path=str(folder), lora_targets=["all-linear"], parameters=1e5, licence="")

    def learner() -> Sft:
        model = AutoModelForCausalLM.from_pretrained(folder)
        return Sft(model, settings, UpdateConfig(lora_dropout=0.0, batch_size=6), 0)

    roomy, tight = learner(), learner()
    loss = roomy.step(examples, 0)
    a_token = roomy._kept_bytes(examples)[0]
    for room in ("ON_A_PROCESSOR", "OF_ONE_TEXT"):
        monkeypatch.setattr(activations, room, 20 * a_token)
    assert tight.step(examples, 0) == pytest.approx(loss, rel=1e-5)
    assert (roomy._checkpointing, tight._checkpointing) == (False, True)
    assert tight._kept_bytes(examples)[0] < a_token / 3
    moments = roomy.optimizer_state()
    for name, moment in tight.optimizer_state().items():
        assert float((moments[name] - moment).norm()) <= 1e-5 * float(moment.norm()) + 1e-12, name


def test_the_copies_of_weights_that_a_mixed_precision_pass_makes_are_not_what_a_token_keeps(tmp_path):
    folder, examples = save_model(tmp_path, "llama", num_hidden_layers=8), few_shot(6)
    settings = ModelConfig(name="m", path=str(folder), lora_targets=["all-linear"], parameters=1e5, licence="")
    full = UpdateConfig(parameters="full", batch_size=6)
    (whole, nothing), (half, copies) = (
        Sft(AutoModelForCausalLM.from_pretrained(folder, dtype=dtype), settings, full, 0)._kept_bytes(examples)
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert 0.4 * whole < half < 1.1 * whole
    layers = sum(p.numel() for n, p in AutoModelForCausalLM.from_pretrained(folder).named_parameters() if "layers" in n)
    assert nothing < 2 * layers <= copies
