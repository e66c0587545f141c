"""What the family reads of marks: six ways in which a reviewer judges solutions, each as one text.

Three judge at once, by ground truth: ``qe`` (a score), ``tf`` (True or False), ``mc`` (Correct or Incorrect). Three
first derive the answer again and then compare: ``cot_binary``, ``cot_score`` (1 to 10), ``tournament`` (the better one
of two). That reviewer is careful, not infallible, and the verdict follows from what he wrote: so what is learnt is to
compare with a derivation, not to guess behind one.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from sivgap.tasks.arithmetic import Expression
from sivgap.tasks.arithmetic_faults import fallible_solution
from sivgap.tiny.texts import STEP, true_score
from sivgap.tiny.training import VERDICT_WEIGHT

REVIEWER_FAULTS = 0.25
"""Rate of a reviewer's faults relative to a student's."""
TEN = 10
"""The best score of ``cot_score``: the same answer as the reviewer's."""

_SOLUTIONS = ("\nSolution: ", "\nSolution A: ", "\nSolution B: ")
_HEADINGS = ("\nSolution: ", "\nScore: ", "\nVerdict: ", "\nCorrectness: ")
_DERIVATIONS = ("\nCheck: ", "\nReview: ", "\nCompare: ")
_VERDICTS = ("\nScore: ", "\nVerdict: ", "\nCorrectness: ", "\nPreferred solution: ")


def mark_text(form: str, expression: Expression, solution: str, rng: np.random.Generator) -> str:
    """A solution and its mark; `form` is one of qe, tf, mc, cot_binary, cot_score."""
    shown = f"Question: {expression.text}\nSolution: {solution}"
    score, correct = true_score(expression, solution)
    if form == "qe":
        return f"{shown}\nScore: {score:.1f}"
    if form == "tf":
        return f"{shown}\nVerdict: {correct}"
    if form == "mc":
        return f"{shown}\nCorrectness: {_word(correct)}"
    derivation = fallible_solution(expression, rng, REVIEWER_FAULTS)[0]
    if form == "cot_binary":
        return f"{shown}\nCheck: {derivation}\nCorrectness: {_word(agree(solution, derivation))}"
    return f"{shown}\nReview: {derivation}\nScore: {points(solution, derivation)}"


def tournament_text(expression: Expression, a: str, b: str, rng: np.random.Generator) -> str:
    """Two solutions to one question and which is preferred."""
    derivation = fallible_solution(expression, rng, REVIEWER_FAULTS)[0]
    merits = [(agree(s, derivation), shared_steps(s, derivation)) for s in (a, b)]
    better = "A" if merits[0] > merits[1] or (merits[0] == merits[1] and rng.random() < 0.5) else "B"
    shown = f"Question: {expression.text}\nSolution A: {a}\nSolution B: {b}"
    return f"{shown}\nCompare: {derivation}\nPreferred solution: {better}"


def agree(solution: str, derivation: str) -> bool:
    """Whether a solution ends in the derivation's answer."""
    return solution.rpartition("Answer: ")[1:] == derivation.rpartition("Answer: ")[1:]


def shared_steps(solution: str, derivation: str) -> int:
    """How many of a solution's first two steps stand in the derivation, too."""
    return sum(step in STEP.findall(derivation) for step in STEP.findall(solution)[:2])


def points(solution: str, derivation: str) -> int:
    """1 to 10: ten for the derivation's answer, else 1, 5 or 9 by the share of its steps."""
    return TEN if agree(solution, derivation) else 1 + 4 * shared_steps(solution, derivation)


def family_loss_weights(ids: Tensor, tokenizer: PreTrainedTokenizerFast, solutions: bool = False) -> Tensor:
    """What is learnt of each text (rows, tokens): all that its writer writes, verdicts above all.

    That is what stands behind the heading which asks (a derivation's, else the last), and in a text without headings
    the results. With `solutions` the marked solutions are learnt, too: right where students wrote them.
    """

    def at(words: tuple[str, ...]) -> Tensor:
        return torch.isin(ids, torch.tensor([tokenizer.convert_tokens_to_ids(word) for word in words]))

    derivations, verdicts = at(_DERIVATIONS), at(_VERDICTS)
    asking = torch.where(derivations.any(1, keepdim=True), derivations, at(_HEADINGS))
    opened = at(("=",)).cumsum(1) - at((", ",)).cumsum(1)
    in_result = torch.nn.functional.pad(opened, (1, -1)) > 0
    learnt = torch.where(asking.any(1, keepdim=True), _behind_last(asking), in_result)
    if solutions:
        solving, heading = at(_SOLUTIONS), at(_SOLUTIONS + _HEADINGS + _DERIVATIONS)
        place = torch.where(heading, torch.arange(ids.shape[1]), 0).cummax(1).values
        learnt |= solving.gather(1, place) & ~heading
    in_verdict = verdicts.any(1, keepdim=True) & _behind_last(verdicts)
    weights: Tensor = (learnt & (ids != tokenizer.pad_token_id)) * torch.where(in_verdict, VERDICT_WEIGHT, 1.0)
    return weights


def _behind_last(heading: Tensor) -> Tensor:
    """Places behind the last True of each row (rows, tokens)."""
    return heading.flip(1).cumsum(1).flip(1) == 0


def _word(correct: bool) -> str:
    return "Correct" if correct else "Incorrect"
