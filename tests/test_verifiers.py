import numpy as np
import pytest
from transformers import AutoTokenizer

from sivgap.config.schema import VerifierConfig
from sivgap.engines.rollout import Rollouts
from sivgap.prompts import PromptWriter
from sivgap.tiny import WEIGHTS
from sivgap.verifiers.qe import parse_score
from sivgap.verifiers.question import NEUTRAL
from sivgap.verifiers.tf import parse_verdict
from sivgap.verifiers.verifier import Bench, in_pass


@pytest.mark.parametrize(
    ("text", "score"),
    [("0.8", 0.8), ("1.0", 1.0), ("1", 1.0), (".5", 0.5), ("Score: 0.25 because", 0.25), ("0.9.", 0.9),
     ("8/10", None), ("1/10", None), ("85%", None), ("1.5", None), ("-0.5", None), ("10", None), ("0.1.2", None),
     ("", None), ("great", None), ("1" * 10_000, None)],
)  # fmt: skip
def test_scores(text, score):
    assert parse_score(text) == score


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("True", 1.0), ("false.", 0.0), ("Verdict: TRUE", 1.0), ("True or False", None), ("untrue", None), ("", None)],
)
def test_verdicts(text, verdict):
    assert parse_verdict(text) == verdict


def writer() -> PromptWriter:
    return PromptWriter(AutoTokenizer.from_pretrained(WEIGHTS), False, "Question: {question}\nSolution: ")


def bench() -> Bench:
    return Bench(None, writer(), True, 1, 256, 0.1, "arithmetic", None)  # what reads scores asks no engine


def rollouts(**answers) -> Rollouts:
    shape = (1, 2)
    return Rollouts([np.zeros(1, int)] * 2, np.ones(shape), np.ones(shape, int), np.ones(shape, int), **answers)


def test_an_unparsable_verdict_is_neutral_and_counted():
    config = VerifierConfig(name="qe", prompt="tiny/qe.txt", answers={"0.0": 0.0, "1.0": 1.0})
    said = [np.array(writer().encode_answer(text)) for text in ("True", "0.4")]
    scores = in_pass(config, bench()).read(rollouts(verdicts=said))
    assert scores.values.tolist() == [[NEUTRAL, 0.4]]
    assert scores.unparsed.tolist() == [[1, 0]]


def test_the_expected_score_is_the_mean_over_the_allowed_answers_alone():
    config = VerifierConfig(name="tf", prompt="tiny/tf.txt", answers={"True": 1, "False": 0}, readout="expected")
    logprobs = np.log(np.array([[[0.3, 0.1], [1e-300, 1e-299]]]))
    scores = in_pass(config, bench()).read(rollouts(answer_logprobs=logprobs))
    assert scores.values[0] == pytest.approx([0.75, 1 / 11])
