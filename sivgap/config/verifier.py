"""Settings of a verifier: ``conf/verifier``."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, model_validator

from sivgap.config.locate import shipped
from sivgap.config.model import ModelSource
from sivgap.config.settings import FilePath, Fraction, Settings
from sivgap.registry import Axis, is_own

QUESTIONS = ("qe", "tf", "mc", "cot_binary", "cot_score", "tournament")
"""Verifiers that put a question to a model."""
VERIFIERS = Axis("verifier", shipped("verifier"), "sivgap.verifiers")


class VerifierConfig(Settings):
    name: Annotated[str, AfterValidator(VERIFIERS.check)]
    """``qe`` asks for a score in [0, 1], ``tf`` for True or False (SV); ``mc`` reads Correct against Incorrect,
    ``cot_binary`` and ``cot_score`` justify their verdict first, ``tournament`` compares in pairs, ``ensemble`` joins
    several, ``gold`` is ground truth (MG Appendix C). Without labels or questions: ``majority``, ``likelihood``, and as
    controls ``format`` and ``random``. ``module:Name`` is one of your own."""
    prompt: FilePath = ""
    """File with the verifier's prompt; of a shipped one its variant for the dataset, ``mc_sudoku.txt`` for ``mc.txt``,
    where there is one. It follows the response in the same conversation, or stands alone if it has
    ``{question}`` and ``{response}`` (a tournament: ``{response_a}`` and ``{response_b}``)."""
    answers: dict[str, Fraction] = Field(default={})
    """Allowed answers and the score each stands for; ``readout=expected`` averages over exactly these."""
    readout: Literal["sampled", "expected"] = "sampled"
    """``sampled``: one answer at ``sampling.verifier_temperature``, as in the paper; unparsable is 0.5,
    which passes no threshold.
    ``expected``: the mean score under the model's likelihoods of the allowed answers. Of an ensemble: ``expected`` is
    every member's, ``sampled`` leaves each its own."""
    max_new_tokens: int = Field(default=8, ge=1, le=4096)
    """Longest sampled answer, justification included."""
    heading: str | None = Field(default=None, min_length=1, max_length=80)
    """What stands before the verdict where a justification comes first; null where the answer is the verdict."""
    pattern: str | None = Field(default=None, min_length=1, max_length=500)
    """A regular expression whose last match is the verdict (its first group, where it has one), in place of the rules
    of ``docs/grading.md``; for judges that answer in a form of their own."""
    repetitions: int = Field(default=1, ge=1, le=1024)
    """m: answers asked for about each response (or pair), of which the score is the mean."""
    model: ModelSource = ModelSource()
    """Another model that judges, by its ``path``, and is never trained; without one the solver judges itself."""
    rounds: int | None = Field(default=None, ge=1)
    """Rounds of a tournament; null plays until one response is left."""
    both_orders: bool = True
    """Ask about each pair both ways round: judges prefer a place."""
    pairing: Literal["elimination", "swiss"] = "elimination"
    """Who meets in a tournament: the winners of the last round, or (ours) always responses of like strength."""
    members: list[Annotated[str, AfterValidator(VERIFIERS.check)]] = Field(default=[])
    """Of an ensemble: its verifiers."""
    accept: list[Fraction] = Field(default=[0.5], min_length=1)
    """The score from which on each member accepts a response: one for all, or one each."""
    combine: Literal["and", "mean"] = "and"
    """An ensemble accepts what all members accept (the paper), or scores by the mean of their scores (ours)."""

    tpr: Fraction = 1.0
    """Of ``gold``: how often it accepts a right response; below 1 a noisy verifier whose noise is known."""
    fpr: Fraction = 0.0
    """Of ``gold``: how often it accepts a wrong response. J = tpr - fpr."""
    errors: Literal["response", "problem"] = "response"
    """Of ``gold``: whether it errs about each response by itself, or alike about those of a problem."""
    settings: dict[str, JsonValue] | None = None
    """Of ``module:Name``: keyword arguments, as in ``verifier.settings={longest: 200}``."""

    @property
    def asks(self) -> bool:
        """Whether it puts a question to a model; an ensemble's members do that."""
        return self.name in QUESTIONS

    @model_validator(mode="after")
    def _consistent(self) -> VerifierConfig:
        if "ensemble" in self.members:
            raise ValueError("members: expected verifiers by themselves, not an ensemble")
        if self.name == "ensemble" and not self.members:
            raise ValueError("members: expected verifiers, such as [mc,cot_score]")
        if len(set(self.members)) < len(self.members):
            raise ValueError("members: expected each verifier once")
        if self.members and len(self.accept) not in (1, len(self.members)):
            raise ValueError(f"accept: expected one score, or one for each of {len(self.members)} members")
        if self.asks and not self.prompt:
            raise ValueError(f"prompt: {self.name} needs a file with its question")
        if self.asks and len(self.answers) < 2:
            raise ValueError(f"answers: {self.name} needs at least two allowed answers with their scores")
        if self.name != "gold" and (self.tpr, self.fpr, self.errors) != (1.0, 0.0, "response"):
            raise ValueError(f"tpr, fpr and errors are settings of verifier=gold, not of {self.name}")
        if self.settings is not None and not is_own(self.name):
            raise ValueError(f"settings: {self.name} has none; they are of a verifier of your own, module:Name")
        _check_pattern(self.pattern)
        return self


def _check_pattern(pattern: str | None) -> None:
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"pattern: expected a regular expression, such as 'Verdict: (\\w+)' ({error})") from error
