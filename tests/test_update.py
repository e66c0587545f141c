"""What a step learns: the losses against their formulas, and which responses become examples."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from local_models import save_model
from small_runs import composed, lines
from transformers import AutoModelForCausalLM

from sivgap.config.embedded import WEIGHTS
from sivgap.core.example import Example
from sivgap.core.verification import Scores
from sivgap.errors import RunError
from sivgap.loop.components import open_components
from sivgap.models.head import MOST_LOGITS, output_head, token_nll
from sivgap.models.packing import packed, read_packed
from sivgap.tasks.load import load_dataset
from sivgap.update.rpo import Rpo
from sivgap.update.sft import Sft

SMOKE = ("experiment=smoke", "engine.threads=1", "tracking.wandb.mode=disabled")


@torch.no_grad()
def nll(model, prompt: tuple[int, ...], response: tuple[int, ...]) -> float:
    ids = torch.tensor([prompt + response])
    logp = model(ids).logits[0, :-1].log_softmax(-1)
    return -float(logp[range(len(prompt) - 1, ids.shape[1] - 1), ids[0, len(prompt) :]].sum())


@pytest.fixture(scope="module")
def pairs() -> list[Example]:
    rng = np.random.default_rng(0)

    def text(length: int) -> tuple[int, ...]:
        return tuple(map(int, rng.integers(4, 27, length)))

    made = [Example(text(5), text(4 + i), str(i), text(9 - i), margin=0.5 * i) for i in range(3)]
    return [*made, Example(text(5), text(6), "alone")]


def trained(kind: type[Sft] = Rpo, **settings) -> Sft:
    config = composed(*SMOKE, "update=rpo", "update.parameters=full", "update.weight_decay=0")
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS, dtype=torch.float32)
    return kind(model, config.model, config.update.model_copy(update=settings), 0)


def test_the_loss_of_rpo_is_its_formula(pairs):
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS, dtype=torch.float32)
    expected = 0.0
    for example in pairs:
        chosen = nll(model, example.prompt, example.response)
        expected += 0.7 * chosen / len(example.response)
        if example.rejected:
            margin = nll(model, example.prompt, example.rejected) - chosen - example.margin
            expected += np.log1p(np.exp(-0.3 * margin))
    step = trained(beta=0.3, sft_weight=0.7, micro_batch_size=2)
    assert step.step(pairs, 0) == pytest.approx(expected / len(pairs), rel=1e-5)


def test_at_the_reference_the_preference_costs_log_2_a_pair_and_a_step_widens_the_margin(pairs):
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS, dtype=torch.float32)
    measured = [
        replace(e, margin=nll(model, e.prompt, e.rejected) - nll(model, e.prompt, e.response)) for e in pairs[:3]
    ]
    policy = trained(sft_weight=0.0, learning_rate=1e-4)
    first = policy.step(measured, 0)
    assert first == pytest.approx(np.log(2), rel=1e-5)
    assert policy.step(measured, 1) < first


@pytest.mark.parametrize("update", ["sft", "rpo"])
@pytest.mark.parametrize("settings", [{"parameters": "full"}, {"parameters": "lora", "lora_dropout": 0.5}], ids=str)
def test_activations_computed_twice_are_the_same_bits(pairs, update, settings):
    kind = {"sft": Sft, "rpo": Rpo}[update]
    ways = [trained(kind, checkpointing=twice, **settings) for twice in (False, True)]
    for number in range(2):
        assert ways[0].step(pairs, number) == ways[1].step(pairs, number)
    for name, weight in ways[0].trained().items():
        assert torch.equal(weight, ways[1].trained()[name]), name


@pytest.mark.parametrize("update", [Sft, Rpo])
def test_a_step_that_does_not_fit_is_done_in_parts_to_the_same_end(pairs, update, monkeypatch):
    whole, short, full = (trained(update) for _ in range(3))
    texts = short.token_nll

    def small(given):
        if len(given) > (2 if short._checkpointing else 0):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return texts(given)

    monkeypatch.setattr(short, "token_nll", small)
    assert short.step(pairs, 0) == pytest.approx(whole.step(pairs, 0), rel=1e-5)
    for name, moment in whole.optimizer_state().items():  # the gradients, of which a first step of Adam shows the sign
        assert float((short.optimizer_state()[name] - moment).norm()) <= 2e-6 * float(moment.norm()), name
    monkeypatch.setattr(full, "token_nll", lambda given: small([*given] * 9))
    with pytest.raises(RunError, match="one example of 23 tokens does not fit"):
        full.step(pairs, 0)


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
@pytest.mark.parametrize("at_once", [2**27, 300])
def test_logits_of_responses_alone_give_the_likelihoods_and_gradients_of_all(
    architecture, at_once, tmp_path, monkeypatch
):
    monkeypatch.setitem(MOST_LOGITS, "cpu", at_once)
    model = AutoModelForCausalLM.from_pretrained(save_model(tmp_path, architecture)).float()
    head = output_head(model)
    assert head.last == (architecture == "llama")  # Gemma 2 caps its logits
    texts, counted = [list(range(4, 13)), list(range(16, 28)), list(range(28, 40)), [5, 6]], [6, 11, 1, 1]
    alone = [model(torch.tensor([text])).logits[0, :-1].float().log_softmax(-1) for text in texts]
    expected = torch.cat(
        [
            -logp[-n:].gather(1, torch.tensor(text[-n:])[:, None])[:, 0]
            for logp, text, n in zip(alone, texts, counted, strict=True)
        ]
    )
    read_packed(model)
    found = token_nll(model, head, packed(texts, counted, torch.device("cpu")))
    torch.testing.assert_close(found, expected)
    weight = torch.linspace(0, 1, len(found))
    for mine, theirs in zip(
        *(torch.autograd.grad((nll * weight).sum(), list(model.parameters())) for nll in (found, expected)), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=5e-6)


@pytest.mark.parametrize("update", ["sft", "rpo"])
def test_rejection_sampling_learns_all_that_pass_and_rejects_what_does_not(update):
    config = composed(*SMOKE, "selection.keep=all", f"update={update}", "update.replay=0", "verifier=gold", "n=8")
    dataset = load_dataset(config.dataset)
    with open_components(config, dataset) as components:
        problems = dataset.train[:24]
        rollouts, scores = components.sample_and_verify(problems, 8, 3)
        examples = components.choose(problems, rollouts, scores)
        right = (scores.values >= 0.5).sum(axis=1)
        per_problem = {p.id: [e for e in examples if e.problem_id == p.id] for p in problems}
        assert [len(per_problem[p.id]) for p in problems] == right.tolist()
        texts = components.writer.decode([e.response[:-1] for e in examples])
        by_id = {p.id: p.reference for p in problems}
        assert all(t.endswith(f"Answer: {by_id[e.problem_id]}") for t, e in zip(texts, examples, strict=True))
        rejected = [e for e in examples if e.rejected]
        assert len(rejected) == (np.minimum(right, 8 - right).sum() if update == "rpo" else 0)
        for example in rejected:
            (text,) = components.writer.decode([example.rejected])
            assert not text.endswith(f"Answer: {by_id[example.problem_id]}")
            asked = next(components.writer.solve(p) for p in problems if p.id == example.problem_id)
            chosen, other = components.engine.likelihood([asked] * 2, [example.response, example.rejected])
            assert example.margin == pytest.approx(other - chosen, abs=1e-4)


@pytest.mark.parametrize("keep", ["all", "likeliest"])
def test_a_quantile_selects_what_is_learnt_and_what_it_is_preferred_to(keep):
    by = (f"selection.keep={keep}", "selection.quantile=0.25", "selection.fallback=drop")
    config = composed(*SMOKE, *by, "update=rpo", "update.replay=0", "n=8")
    dataset = load_dataset(config.dataset)
    with open_components(config, dataset) as components:
        problems = dataset.train[:3]
        rollouts, _ = components.sample_and_verify(problems, 8, 3)
        values = np.array([np.arange(8) / 100, 0.9 + np.arange(8) / 100, np.full(8, 0.3)])  # no threshold fits these
        scores = Scores(values, np.zeros((3, 8)))
        examples = components.choose(problems, rollouts, scores)
        learnt = {p.id: [e for e in examples if e.problem_id == p.id] for p in problems}
        counts = [2, 2, 8] if keep == "all" else [1, 1, 1]
        assert [len(learnt[p.id]) for p in problems] == counts
        assert all(e.rejected for p in problems[:2] for e in learnt[p.id])
        assert not any(e.rejected for e in learnt[problems[2].id])  # all of a constant score pass
        for p in range(2):
            best = [tuple(map(int, rollouts.tokens[8 * p + i])) for i in (6, 7)]
            assert all(e.response in best for e in learnt[problems[p].id])
            worst = tuple(map(int, rollouts.bodies[8 * p]))
            assert any(e.rejected[: len(worst)] == worst for e in learnt[problems[p].id])


@pytest.mark.parametrize(
    "overrides",
    [("update=rpo", "update.learning_rate=1e-5", "verifier=gold", "selection.keep=all"),
     ("model=tiny_xs", "verifier=tournament", "verifier.pairing=swiss"),
     ("verifier=ensemble", "verifier.members=[qe,tf]")],
)  # fmt: skip
def test_any_verifier_and_update_train(overrides, command, tmp_path):
    done = command("train", *SMOKE, "update.replay=0", *overrides, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    measured = lines(tmp_path / done.stdout.splitlines()[-1])
    assert len(measured) == 6
    if "verifier=gold" in overrides:
        assert all(line["false_positive_rate"] == 0 for line in measured)
        assert all(line["true_positive_rate"] == 1 for line in measured)
