"""Verifiers that ask no model: what their scores are, and how a user's own one joins them."""

import sys

import numpy as np
import pytest

from sivgap.config.app import own_overrides
from sivgap.config.verifier import VerifierConfig
from sivgap.core.problem import Problem
from sivgap.core.verification import Responses
from sivgap.errors import ConfigError, RunError
from sivgap.registry import digest_of
from sivgap.runs.identity import verifier_identity
from sivgap.verifiers.context import VerifierContext
from sivgap.verifiers.gold import Gold
from sivgap.verifiers.verifier import make_verifier

CONTEXT = VerifierContext(None, None, True, 0, None, 0.1, 1.0, "gsm8k", None, ("boxed",))


def responses(*each: list[str], **known) -> Responses:
    """Those of several problems, of which the answer is always 2."""
    return Responses(
        [Problem(f"p{i}", "1+1", "2") for i in range(len(each))], [t for part in each for t in part], **known
    )


def scores(name: str, asked: Responses, stream: int = 0, **settings) -> np.ndarray:
    found = make_verifier(VerifierConfig(name=name, **settings), CONTEXT).score(asked, stream)
    assert (found.unparsed == 0).all()
    return found.values


def test_majority_is_the_share_of_equal_answers_however_they_are_written():
    asked = responses(["#### 2", r"so \boxed{2.0}", "The answer is 3.", "I do not know"])
    assert scores("majority", asked).tolist() == [[0.5, 0.5, 0.25, 0.0]]


def test_likelihood_is_the_geometric_mean_probability_of_a_token():
    asked = responses(["a", "b"], nll=np.array([[4.0, 0.0]]), length=np.array([[4, 9]]))
    assert scores("likelihood", asked) == pytest.approx(np.array([[np.exp(-1), 1.0]]))
    with pytest.raises(RunError, match="without likelihoods"):
        scores("likelihood", responses(["a"]))


def test_format_is_the_form_asked_for_right_or_wrong():
    assert scores("format", responses([r"\boxed{7}", "2", "#### 2"])).tolist() == [[1, 0, 0]]


def test_random_is_uniform_and_belongs_to_problem_response_and_stream():
    many = Responses([Problem(f"q{i}", "", "") for i in range(2000)], ["x"] * 8000)
    found = scores("random", many)
    assert abs(found.mean() - 0.5) < 4 / np.sqrt(12 * found.size)
    assert abs(np.corrcoef(found.T)[np.triu_indices(4, 1)]).max() < 4 / np.sqrt(2000)
    assert (found == scores("random", many)).all()
    assert (found != scores("random", many, stream=1)).all()
    turned = Responses(many.problems[::-1], many.texts)
    assert (scores("random", turned) == found[::-1]).all()


@pytest.mark.parametrize("errors", ["response", "problem"])
def test_noisy_gold_accepts_right_and_wrong_responses_as_often_as_it_is_told_to(errors):
    problems, samples = 4000, 4
    asked = Responses(
        [Problem(f"q{i}", "", "2") for i in range(problems)], ["#### 2", "#### 3"] * (problems * samples // 2)
    )
    found = Gold("gsm8k", None, tpr=0.8, fpr=0.3, errors=errors).score(asked, 0).values
    count = problems * (1 if errors == "problem" else samples / 2)
    for column, rate in ((found[:, ::2], 0.8), (found[:, 1::2], 0.3)):
        assert abs(column.mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / count)
    alike = (found[:, ::2].std(axis=1) == 0).all()
    assert alike == (errors == "problem")
    again = Gold("gsm8k", None, tpr=0.8, fpr=0.3, errors=errors).score(asked, 1).values
    assert (again == found).all() == (errors == "problem")
    assert (Gold("gsm8k", None).score(asked, 0).values == [1, 0, 1, 0]).all()


def test_each_setting_belongs_to_its_verifier():
    for settings, said in (
        ({"name": "qe", "prompt": "x", "answers": {"a": 0, "b": 1}, "tpr": 0.5}, "tpr, fpr and errors"),
        ({"name": "majority", "settings": {"a": 1}}, "settings: majority has none"),
        ({"name": "majorty"}, "did you mean 'majority'"),
        ({"name": "qe", "answers": {"a": 0, "b": 1}}, "prompt: qe needs"),
    ):
        with pytest.raises(ValueError, match=said):
            VerifierConfig(**settings)


OWN = """
import numpy as np

class Short:
    def __init__(self, context, longest=100):
        self.longest = longest
    def score(self, responses, stream, on_batch=None):
        lengths = np.array([len(text) for text in responses.texts]).reshape(responses.shape)
        return np.clip(1 - lengths / self.longest, 0, 1)

class Flat(Short):
    def score(self, responses, stream, on_batch=None):
        return np.ones(3)

class High(Short):
    def score(self, responses, stream, on_batch=None):
        return np.full(responses.shape, 1.5)

class Broken(Short):
    def score(self, responses, stream, on_batch=None):
        return 1 / 0
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's in the folder where the command is typed."""
    (tmp_path / "a_users_verifier.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "a_users_verifier.py"
    sys.modules.pop("a_users_verifier", None)


def test_a_verifier_of_ones_own_is_named_by_its_module(own):
    asked = responses(["x" * 10, "x" * 200])
    assert scores("a_users_verifier:Short", asked).tolist() == [[0.9, 0]]
    assert scores("a_users_verifier:Short", asked, settings={"longest": 20}).tolist() == [[0.5, 0]]
    joined = VerifierConfig(name="ensemble", members=["a_users_verifier:Short", "majority"], combine="mean")
    assert make_verifier(joined, CONTEXT).score(asked, 0).values.tolist() == [[0.45, 0]]


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("a_users_verifier:Flat", RunError, r"expected scores of the shape \(1, 2\)"),
        ("a_users_verifier:High", RunError, "in \\[0, 1\\], got numbers from 1.5 to 1.5"),
        ("a_users_verifier:Broken", RunError, r"ZeroDivisionError: division by zero \(a_users_verifier.py, line 21\)"),
        ("a_users_verifier:Nothing", ConfigError, "has no 'Nothing'; it has Broken, Flat, High, Short"),
        ("no_such_module:Short", ConfigError, "cannot import 'no_such_module'"),
    ],
)
def test_what_is_wrong_with_ones_own_verifier_is_one_sentence(name, error, said, own):
    with pytest.raises(error, match=said):
        scores(name, responses(["a", "b"]))


def test_changed_code_is_another_run(own):
    config = VerifierConfig(name="a_users_verifier:Short")
    before = verifier_identity(config, "gsm8k")
    own.write_text(OWN + "\n# changed\n")
    assert verifier_identity(config, "gsm8k") != before
    assert "a_users_verifier" not in sys.modules  # an identity is known without importing
    assert digest_of("no_such_module:Short") is None


def test_a_module_on_the_command_line_stands_for_its_group():
    assert own_overrides("verifier=my.module:Name") == ["verifier=own", "verifier.name=my.module:Name"]
    assert own_overrides("verifier.settings.longest=3") == ["++verifier.settings.longest=3"]
    assert own_overrides("verifier=qe") == ["verifier=qe"]
