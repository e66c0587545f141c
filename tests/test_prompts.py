import json
import re
from pathlib import Path

import pytest
from local_models import CHAT, byte_tokenizer
from small_runs import composed
from transformers import AutoTokenizer

from sivgap.config.embedded import WEIGHTS
from sivgap.config.locate import conf_dir, read_prompt
from sivgap.core.problem import Problem
from sivgap.errors import ConfigError, RunError
from sivgap.models.prompts import PromptWriter
from sivgap.runs.identity import identity

PROBLEM = Problem("p", "1+1?", "2")
THINKS = (  # as Qwen3's template: thoughts of earlier turns are left out, and one variable says that none are wanted
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'].split('</think>')[-1] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% if enable_thinking is defined and not enable_thinking %}"
    "<think></think>{% endif %}{% endif %}"
)
FORMS = (r"\boxed", "####", "Answer:", "The answer is")


def writer(template: str = CHAT, **settings) -> PromptWriter:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    return PromptWriter(tokenizer, True, "Solve: {question}", **settings)


def text(writer: PromptWriter, tokens) -> str:
    return byte_tokenizer().decode(tokens)


def test_a_system_message_stands_before_the_question_of_solver_and_verifier_alike():
    asks = writer(system_prompt="Be brief.")
    assert text(asks, asks.solve(PROBLEM).tokens).startswith("<|system|>\nBe brief.<|end|>\n<|user|>\nSolve: 1+1?")
    alone = asks.judgement(PROBLEM, "{question} {response}: right?", ["2"])
    assert text(asks, alone).startswith("<|system|>\nBe brief.<|end|>\n<|user|>\n1+1? 2: right?<|end|>")
    follows = text(asks, asks.judgement(PROBLEM, "Right?", ["2"]))
    assert follows.count("Be brief.") == 1
    assert follows.endswith("2<|end|>\n<|user|>\nRight?<|end|>\n<|assistant|>\n")


@pytest.mark.parametrize(
    ("template", "does"),
    [
        ("{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHAT, "refuses"),
        (CHAT.replace("{% for m in messages %}", "{% for m in messages if m['role'] != 'system' %}"), "leaves out"),
    ],
)
def test_a_template_without_a_place_for_a_system_message_is_one_sentence(template, does):
    with pytest.raises(RunError, match=f"template {does} a system message; set system_prompt=null"):
        writer(template, system_prompt="Be brief.").solve(PROBLEM)
    assert writer(template).solve(PROBLEM).tokens  # and without one it is a template as any other


def test_a_template_that_is_broken_anyhow_is_not_blamed_on_the_system_message():
    with pytest.raises(RunError, match="cannot be rendered"):
        writer("{% for", system_prompt="Be brief.").solve(PROBLEM)


def test_variables_reach_the_template_before_an_answer_and_before_a_verdict():
    asks = writer(THINKS, variables={"enable_thinking": False})
    assert text(asks, asks.solve(PROBLEM).tokens) == "<|user|>Solve: 1+1?<|end|><|assistant|><think></think>"
    assert text(asks, asks.follow_up("Right?")) == "<|end|><|user|>Right?<|end|><|assistant|><think></think>"
    assert "think" not in text(asks, writer(THINKS).solve(PROBLEM).tokens)


def test_thoughts_stay_in_the_conversation_and_are_not_shown_to_a_judge_of_the_response():
    asks = writer(THINKS)
    thought = "<think>1+1=3? No, 2.</think>\n\nIt is 2."
    follows = text(asks, asks.judgement(PROBLEM, "Right?", [thought]))
    assert follows.startswith(f"<|user|>Solve: 1+1?<|end|><|assistant|>{thought}<|end|><|user|>Right?")
    shown = text(asks, asks.judgement(PROBLEM, "A: {response_a} B: {response_b}", [thought, "It is 3."]))
    assert shown == "<|user|>A: It is 2. B: It is 3.<|end|><|assistant|>"


@pytest.mark.parametrize(
    ("response", "shown"),
    [
        ("It is 2.", "It is 2."),
        ("so 2.</think>It is 2.", "It is 2."),  # what begins it stood in the prompt
        ("[THINK]3? no[/THINK]It is 2.", "It is 2."),
        ("<|channel|>analysis<|message|>3?<|channel|>final<|message|>It is 2.", "It is 2."),
        ("<think>and on, until the tokens ended", "<think>and on, until the tokens ended"),
        ("<think>all of it</think>", "<think>all of it</think>"),
    ],
)
def test_a_judge_is_shown_what_stands_behind_the_thinking_or_all_where_nothing_does(response, shown):
    asks = writer()
    assert text(asks, asks.judgement(PROBLEM, "{response}", [response])) == f"<|user|>\n{shown}<|end|>\n<|assistant|>\n"


@pytest.mark.parametrize("path", sorted((conf_dir() / "prompts" / "chat").glob("solve_*.txt")), ids=lambda p: p.stem)
def test_a_prompt_asks_for_reasoning_first_and_for_one_form_of_the_answer_behind_it(path):
    words = path.read_text()
    assert words.count("{question}") == 1
    assert [form for form in FORMS if form in words] == [next(form for form in FORMS if form in words)]
    thinking, form = re.search(r"step by step|[Tt]hink", words), re.search("|".join(map(re.escape, FORMS)), words)
    assert thinking is not None
    assert thinking.start() < form.start()


def test_settings_of_the_template_count_in_the_identity_only_where_they_are_set(tmp_path):
    real = ("model=llama32_3b", "dataset=gsm8k")
    plain = identity(composed(*real))
    assert identity(composed(*real, "model.system_prompt=null", "model.chat_template_kwargs={}")) == plain
    assert identity(composed(*real, "model.system_prompt=Be brief.")) != plain
    kwargs = composed(*real, "model.chat_template_kwargs={enable_thinking: false}")
    assert kwargs.model.chat_template_kwargs == {"enable_thinking": False}
    assert kwargs.verifier.model.chat_template_kwargs == {"enable_thinking": False}  # spoken to as the solver is
    assert identity(kwargs) != plain


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("model.system_prompt=Hi", "model.chat_template=false"), "model.system_prompt: .*plain text has no place"),
        (("model.system_prompt=''",), "model.system_prompt: .*at least 1 character"),
        (("model.chat_template_kwargs={tokenize: true}",), "model.chat_template_kwargs: .*no tokenize"),
        (("model.chat_template_kwargs=3",), "model.chat_template_kwargs: .*dictionary"),
        ((r"model.stop=['\n\nQuestion:']",), r"model.stop: expected line ends, .*\$'model.stop=\[\"\\n"),
    ],
)
def test_settings_that_a_template_cannot_have_are_one_sentence(overrides, said):
    with pytest.raises(ConfigError, match=said):
        composed("model=llama32_3b", "dataset=gsm8k", *overrides)


def test_a_stop_text_may_hold_line_ends_and_latex():
    for stop in ("\n\nQuestion:", r"\neq"):
        assert composed("model=llama32_3b", "dataset=gsm8k", f"model.stop=['{stop}']").model.stop == [stop]


def test_the_table_of_wordings_holds_the_shipped_prompts():
    results = json.loads((Path(__file__).parents[1] / "benchmarks" / "results" / "wordings.json").read_text())["cells"]
    measured = {cell["words"].strip() for cell in results}
    for name in ("solve_gsm8k", "solve_arithmetic", "tf", "mc"):
        assert read_prompt(f"chat/{name}.txt").strip() in measured, name


def test_a_response_that_the_judges_tokenizer_cannot_write_is_judged_all_the_same():
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    writer = PromptWriter(tokenizer, False, "Question: {question}\nSolution: ")
    problem = Problem("p", "1+2", "3")
    for template in ("Question: {question}\nSolution: {response}\nScore: ", "Score: "):
        ids = writer.judgement(problem, template, ["1+2=3 \U0001f600"])
        assert tokenizer.unk_token_id in ids
        assert tokenizer.decode(ids).startswith("<bos>Question: 1+2")
    with pytest.raises(RunError, match="no tokens for what its verifier is shown"):
        writer.judgement(problem, "\U0001f600 {question} {response}", ["3"])
