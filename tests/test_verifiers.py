import re
from dataclasses import replace

import numpy as np
import pytest
from local_models import save_model
from small_runs import composed
from transformers import AutoTokenizer

from sivgap.config.embedded import WEIGHTS
from sivgap.config.locate import read_prompt
from sivgap.config.verifier import VerifierConfig
from sivgap.core.problem import Problem
from sivgap.core.rollout import Prompt, Rollouts, Sampling
from sivgap.core.verification import NEUTRAL, Responses, about_each
from sivgap.grading.equal import comparer
from sivgap.loop.components import open_components
from sivgap.models.prompts import PromptWriter, is_follow_up
from sivgap.tasks.grade import grade
from sivgap.tasks.load import load_dataset
from sivgap.tasks.sudoku import solutions
from sivgap.verifiers.context import VerifierContext
from sivgap.verifiers.verifier import in_pass


def writer() -> PromptWriter:
    return PromptWriter(AutoTokenizer.from_pretrained(WEIGHTS), False, "Question: {question}\nSolution: ")


def verifier_context() -> VerifierContext:
    return VerifierContext(
        None, writer(), True, 1, 256, 0.1, 1.0, "arithmetic", None
    )  # what reads scores asks no engine


def rollouts(**answers) -> Rollouts:
    shape = (1, 2)
    return Rollouts([np.zeros(1, int)] * 2, np.ones(shape), np.ones(shape, int), np.ones(shape, int), **answers)


def test_an_unparsable_verdict_is_neutral_and_counted():
    config = VerifierConfig(name="qe", prompt="tiny/qe.txt", answers={"0.0": 0.0, "1.0": 1.0})
    said = [np.array(writer().encode_answer(text)) for text in ("True", "0.4")]
    scores = in_pass(config, verifier_context()).read(rollouts(verdicts=said))
    assert scores.values.tolist() == [[NEUTRAL, 0.4]]
    assert scores.unparsed.tolist() == [[1, 0]]


def test_the_expected_score_is_the_mean_over_the_allowed_answers_alone():
    config = VerifierConfig(name="tf", prompt="tiny/tf.txt", answers={"True": 1, "False": 0}, readout="expected")
    logprobs = np.log(np.array([[[0.3, 0.1], [1e-300, 1e-299]]]))
    scores = in_pass(config, verifier_context()).read(rollouts(answer_logprobs=logprobs))
    assert scores.values[0] == pytest.approx([0.75, 1 / 11])


@pytest.mark.parametrize("verifier", ["qe", "tf"])
def test_a_verdict_asked_for_behind_the_text_is_the_one_read_in_the_sampling_pass(verifier):
    config = composed("experiment=smoke", f"verifier={verifier}", "engine.batch_size=64")
    dataset = load_dataset(config.dataset)
    with open_components(config, dataset) as components:
        problems = dataset.test[:8]
        rollouts, scores = components.sample_and_verify(problems, 4, 5)
        asked = Responses(problems, components.writer.decode(rollouts.bodies), rollouts.bodies)
        assert components.verifier.score(asked, 5).values == pytest.approx(scores.values, abs=1e-5)
        as_text = components.verifier.score(Responses(problems, asked.texts), 5)
        assert as_text.values == pytest.approx(scores.values, abs=1e-5)


def test_a_template_that_stands_alone_shows_what_was_written_and_fills_nothing_in_it(tmp_path):
    save_model(tmp_path, "llama")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    chat = PromptWriter(tokenizer, True, "Solve: {question}")
    problem = Problem("p", "What is {response}?", "4")
    tokens = chat.judgement(problem, "Q: {question} A: {response_a} B: {response_b}", ["{response_b}", "{question}"])
    said = tokenizer.decode(tokens)
    assert said == "<|user|>\nQ: What is {response}? A: {response_b} B: {question}<|end|>\n<|assistant|>\n"
    follow_up = chat.judgement(problem, "Is it right?", ["It is 4."])
    assert tokenizer.decode(follow_up).endswith("It is 4.<|end|>\n<|user|>\nIs it right?<|end|>\n<|assistant|>\n")


def test_a_verdict_behind_plain_text_brings_its_space_where_the_text_has_none(tmp_path):
    save_model(tmp_path, "llama")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    plain, chat = (PromptWriter(tokenizer, chats, "{question}") for chats in (False, True))
    assert plain.lead("Is it right? Answer:", ["True", "False"]) == " "
    assert (
        plain.lead("Verdict: ", ["True"])
        == plain.lead("Verdict:\n", ["True"])
        == plain.lead("Verdict:", [" True"])
        == ""
    )
    assert chat.lead("Is it right?", ["True"]) == ""


@pytest.mark.parametrize("verifier", ["qe", "tf", "mc", "mc_sudoku", "mc_nq_open", "cot_binary", "cot_score"])
def test_no_base_prompt_ends_with_the_space_that_the_next_word_begins_with(verifier):
    assert not read_prompt(f"base/{verifier}.txt")[-1].isspace()


@pytest.mark.parametrize("task", ["", "_sudoku", "_nq_open"])
@pytest.mark.parametrize("kind", ["chat", "base"])
@pytest.mark.parametrize("verifier", ["mc", "cot_binary", "cot_score", "tournament"])
def test_every_shipped_prompt_stands_alone_and_ends_where_the_verdict_can_begin(kind, verifier, task):
    template = read_prompt(f"{kind}/{verifier}{task}.txt")
    assert not is_follow_up(template)
    fields = ("{response_a}", "{response_b}") if verifier == "tournament" else ("{response}",)
    assert all(template.count(field) == 1 for field in ("{question}", *fields))
    heading = {"mc": "Correctness", "cot_binary": "Correctness:", "cot_score": "Score:"}.get(
        verifier, "Preferred solution:"
    )
    if (kind, verifier) != ("chat", "mc"):
        assert heading in template


@pytest.mark.parametrize("verifier", ["mc", "cot_binary", "cot_score"])
def test_the_examples_of_a_few_shot_prompt_are_marked_as_the_exact_checker_marks_them(verifier):
    shown = read_prompt(f"base/{verifier}_sudoku.txt").split("\n\n")[1:-1]
    solution = solutions(re.sub(r"\D", "", shown[0].partition("Solution:")[0].partition(":")[2].replace("_", "0")))
    assert (len(solution), len(shown)) == (1, 2)
    said = [re.split(r"\n(?:Check|Correctness|Score):", example.partition("Solution: ")[2])[0] for example in shown]
    with comparer() as exact:
        marks = grade("sudoku", said, solution * 2, exact)
    assert [mark.correct for mark in marks] == [True, False]


@pytest.fixture(scope="module")
def judged_by_tiny_l():
    """A lab of the embedded model that writes justifications, with eight problems and four responses to each."""
    config = composed("experiment=smoke", "model=tiny_l", "verifier=cot_binary", "update.replay=0")
    dataset = load_dataset(config.dataset)
    with open_components(config, dataset) as components:
        problems = dataset.test[:8]
        bodies = components.engine.rollout(
            [components.writer.solve(p) for p in problems], Sampling(4, 1.0, 48, 1)
        ).bodies
        yield components, Responses(problems, components.writer.decode(bodies), bodies)


def test_behind_a_justification_the_expected_verdict_is_that_of_the_likelihoods_at_its_end(judged_by_tiny_l):
    components, asked = judged_by_tiny_l
    judge = components.verifier.judge
    questions = about_each(8, 4)
    expected = judge.ask(asked, questions, 3)
    assert not expected.unparsed.any()
    for i in (0, 5, 31):
        written = expected.said[i].rpartition("Correctness:")[0] + "Correctness: "
        begun = components.writer.judgement(asked.problems[i // 4], judge.template, [asked.texts[i]])
        prompt = Prompt((*begun, *components.writer.encode_answer(written)), 0)
        right, wrong = components.engine.likelihood(
            [prompt] * 2, [components.writer.encode_answer(a) for a in ("Correct", "Incorrect")]
        )
        assert expected.value[i, 0] == pytest.approx(1 / (1 + np.exp(right - wrong)), abs=1e-5)


def test_a_justification_ends_in_a_verdict_and_repetitions_are_the_same_whenever_they_are_asked_for(judged_by_tiny_l):
    components, asked = judged_by_tiny_l
    config = components.config.verifier.model_copy(update={"readout": "sampled"})
    sampled = replace(
        components.verifier.judge, config=config, temperature=1.0
    )  # warm enough for verdicts to differ at all
    questions = about_each(8, 4)
    five = sampled.ask(asked, questions, 3, repetitions=5)
    assert five.unparsed.mean() < 0.2
    assert (five.value.std(axis=1) > 0).any()
    assert set(np.unique(five.value)) <= {0.0, 0.5, 1.0}
    assert (sampled.ask(asked, questions, 3, 2, first_repetition=3).value == five.value[:, 3:]).all()
    some = np.array([2, 17, 30])
    assert (sampled.ask(asked, questions.where(some), 3, 5).value == five.value[some]).all()
    assert (sampled.ask(asked, questions, 4, 5).value != five.value).any()
