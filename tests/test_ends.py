"""What ends a response, and what a model can read: what its makers meant, whatever its tokenizer calls the end."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from local_models import CHAT, byte_tokenizer, save_model
from small_runs import composed
from transformers import AutoTokenizer, Gemma3Config, MistralConfig, Phi3Config

from sivgap.config.model import ModelSource
from sivgap.core.problem import Problem
from sivgap.core.rollout import Rollouts
from sivgap.core.verification import Scores
from sivgap.cross.external import Response
from sivgap.errors import RunError
from sivgap.loop.components import open_components
from sivgap.models.ends import end_of_turn
from sivgap.models.load import context_length, load_model, pad_token
from sivgap.models.prompts import PromptWriter
from sivgap.tasks.load import load_dataset

TURNS = "{% for m in messages %}OPEN{{ m['role'] }}\n{{ m['content'] | trim }}CLOSE{% endfor %}{% if add_generation_prompt %}OPENassistant\n{% endif %}"  # noqa: E501
CHATML = TURNS.replace("OPEN", "<|im_start|>").replace("CLOSE", "<|im_end|>\n")
GEMMA = TURNS.replace("OPEN", "<start_of_turn>").replace("CLOSE", "<end_of_turn>\n")
LLAMA2 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<s>[INST] {{ m['content'] }} [/INST]"
    "{% else %}{{ ' ' + m['content'] + ' </s>' }}{% endif %}{% endfor %}"
)
WORDS = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
ALWAYS_OPENS = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}<|assistant|>"
DROPS_ANSWERS = "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "eos", "ends"),
    [
        (CHAT, "<|endoftext|>", "<|end|>"),  # Phi-3, Phi-4-mini
        (GEMMA, "<eos>", "<end_of_turn>"),
        (CHATML, "<|im_end|>", "<|im_end|>"),  # Qwen, SmolLM2
        (CHATML, "<|endoftext|>", "<|im_end|>"),  # Yi
        (LLAMA2, "</s>", "</s>"),
        (WORDS, "</s>", None),
        (ALWAYS_OPENS, "</s>", None),
        (DROPS_ANSWERS, "</s>", None),
    ],
)
def test_the_end_of_a_turn_is_what_the_template_writes_behind_an_answer(template, eos, ends):
    special = ["<|endoftext|>", "<|end|>", "<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>"]
    special += ["<s>", "</s>", "<|user|>", "<|assistant|>", "<eos>"]
    tokenizer = byte_tokenizer(special, bos=None, eos=eos, pad=None, chat=template)
    assert end_of_turn(tokenizer) == (None if ends is None else tokenizer.convert_tokens_to_ids(ends))


def test_the_end_of_a_turn_is_the_one_that_the_template_writes_with_the_variables_it_is_told(tmp_path):
    folder = save_model(tmp_path / "model", "phi3", eos="<|endoftext|>")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chosen = "<|{{ m['role'] }}|>{{ m['content'] }}{{ '<|end|>' if closed else '<|endoftext|>' }}"
    tokenizer.chat_template = "{% for m in messages %}" + chosen + "{% endfor %}"
    tokenizer.save_pretrained(folder)
    of_turn, of_sequence = tokenizer.convert_tokens_to_ids(["<|end|>", "<|endoftext|>"])
    told = ModelSource(path=str(folder), chat_template_kwargs={"closed": True})
    assert load_model(told).end_tokens[0] == of_turn
    assert load_model(ModelSource(path=str(folder))).end_tokens[0] == of_sequence


@pytest.fixture(scope="module")
def phi(tmp_path_factory):
    """As Phi-3's: ``<|end|>`` ends a turn, ``<|endoftext|>`` is the end of sequence, and the generation config names a
    third."""
    folder = save_model(tmp_path_factory.mktemp("models") / "phi", "phi3", eos="<|endoftext|>")
    names = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(names | {"eos_token_id": [256 + 3]}))
    return folder


def test_every_end_ends_a_response_and_that_of_the_template_ends_what_others_wrote(phi):
    tokenizer = AutoTokenizer.from_pretrained(phi)
    of_turn, of_sequence, user = tokenizer.convert_tokens_to_ids(["<|end|>", "<|endoftext|>", "<|user|>"])
    assert load_model(ModelSource(path=str(phi))).end_tokens == (of_turn, *sorted([of_sequence, user]))
    assert load_model(ModelSource(path=str(phi), chat_template=False)).end_tokens == (of_sequence, user)


def test_what_is_learnt_ends_with_the_token_that_was_drawn_and_external_responses_with_the_templates():
    settings = ("n=4", "selection.keep=all", "selection.threshold=0", "selection.finished=any")
    config = composed("experiment=smoke", *settings)
    dataset = load_dataset(config.dataset)
    with open_components(config, dataset) as components:
        components = replace(components, loaded=replace(components.loaded, end_tokens=(1, 2)))
        problem = dataset.train[0]
        tokens = [np.array(t, np.int64) for t in ([7, 8, 2], [7, 8, 1], [7, 8, 9, 9], [7, 8, 9, 9])]
        ending = np.array([[1, 1, 2, 0]])  # two drawn ends, a stop text of two tokens, and a response that was cut
        shape = (1, 4)
        rollouts = Rollouts(tokens, np.ones(shape), np.full(shape, 3), ending)
        examples = components.choose([problem], rollouts, Scores(np.ones(shape), np.zeros(shape)))
        assert [example.response for example in examples] == [(7, 8, 2), (7, 8, 1), (7, 8, 1), (7, 8, 9, 9)]
        assert components.external_tokens(problem, Response("1", finished=True))[-1] == 1
        assert components.external_tokens(problem, Response("1", finished=False))[-1] != 1


@pytest.mark.parametrize("unknown", ["bos", "eos"])
def test_an_unknown_token_that_begins_or_ends_every_text_is_no_error(unknown):
    """Granite, OLMo 2 and OPT have one token for both."""
    tokenizer = byte_tokenizer(["<s>", "</s>", "<unk>"], bos="<s>", eos="</s>", pad=None, chat=CHAT)
    problem, writer = Problem("1", "<unk>", ""), PromptWriter(tokenizer, False, "<s>{question}</s>")
    tokenizer.unk_token = getattr(tokenizer, f"{unknown}_token")
    assert writer.solve(problem).tokens[0] == tokenizer.bos_token_id
    tokenizer.unk_token = "<unk>"
    with pytest.raises(RunError, match="no tokens for"):
        PromptWriter(tokenizer, False, "{question}").solve(problem)


@pytest.mark.parametrize(
    "config",
    [
        Phi3Config(max_position_embeddings=4096, sliding_window=2047),
        MistralConfig(max_position_embeddings=4096, sliding_window=128),
        Gemma3Config(text_config={"max_position_embeddings": 4096, "sliding_window": 512}),
    ],
)
def test_the_sliding_window_is_not_the_context(config):
    assert context_length(SimpleNamespace(config=config)) == 4096


def test_a_vocabulary_beyond_the_embedding_is_refused_before_anything_runs_and_rows_to_spare_are_not(tmp_path):
    size = len(byte_tokenizer())
    few = save_model(tmp_path / "few", "llama", vocab_size=size - 4)
    with pytest.raises(RunError, match=rf"beyond the {size - 4} of the model's embedding"):
        load_model(ModelSource(path=str(few)))
    assert load_model(ModelSource(path=str(save_model(tmp_path / "many", "llama", vocab_size=size + 50))))


def test_a_special_token_that_no_text_holds_may_lie_beyond_it_and_is_never_padded_with(tmp_path):
    """Gemma 3's placeholder for images does."""
    folder = save_model(tmp_path / "model", "llama")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "<image>"})
    tokenizer.save_pretrained(folder)
    loaded = load_model(ModelSource(path=str(folder)))
    assert pad_token(loaded) == loaded.end_tokens[0] < tokenizer.pad_token_id
    assert torch.is_tensor(loaded.model(torch.tensor([[pad_token(loaded)]])).logits)
