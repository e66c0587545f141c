"""What verifiers are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sivgap.engines.rollout import Engine
from sivgap.grading.equal import AnswerComparer
from sivgap.grading.forms import Form
from sivgap.prompts import PromptWriter


@dataclass(frozen=True)
class VerifierContext:
    """What verifiers are made from: the judging model, and ground truth for ``gold``.

    Attributes:
        own: Whether the solver itself judges.
        end_token: What ends the judge's answers.
        context_length: Tokens that the judge can read at once, where it says.
        forms: In which the solver's prompt asks for its answer.
        seed: Of the run.
    """

    engine: Engine
    writer: PromptWriter
    own: bool
    end_token: int
    context_length: int | None
    temperature: float
    dataset: str
    comparer: AnswerComparer
    forms: Sequence[Form] = ()
    seed: int = 0
