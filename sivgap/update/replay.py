"""Replayed verification examples: graded solutions of synthetic problems, the verdict alone to be learnt.

Fine-tuning on solutions slowly wears the verifier down: nothing in them asks for a verdict, and its false-positive rate
rises. A small share of the graded solutions that the model was pretrained on keeps it awake. This departs from the
paper; `update.replay=0` is the plain form.
"""

from __future__ import annotations

import numpy as np

from sivgap.prompts import PromptWriter
from sivgap.tasks.arithmetic import expressions
from sivgap.tasks.arithmetic_faults import fallible_solution
from sivgap.tasks.problem import Problem
from sivgap.update.example import Example
from sivgap.verifiers.verifier import Verifier


def replay_examples(count: int, writer: PromptWriter, verifier: Verifier, end_token: int, seed: int) -> list[Example]:
    """`count` graded solutions by fallible people, of problems that no run trains on or measures."""
    rng = np.random.default_rng(seed)
    stream = expressions(rng, "pretrain")
    examples = []
    for _ in range(count):
        expression = next(stream)
        solution, score, _ = fallible_solution(expression, rng)
        asked = writer.solve(Problem(f"replay/{expression.text}", expression.text, "")).tokens
        prompt = (*asked, *writer.encode_answer(solution), *verifier.ask.tokens)
        verdict = writer.encode_answer(verifier.answer_for(score))
        examples.append(Example(prompt, (*verdict, end_token), f"replay/{expression.text}"))
    return examples
