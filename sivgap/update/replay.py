"""Replayed verification examples: graded solutions of synthetic problems, the verdict alone to be learnt.

Fine-tuning on solutions slowly wears the verifier down: nothing in them asks for a verdict, and its false-positive rate
rises. A small share of the graded solutions that the model was pretrained on keeps it awake. This departs from the
paper; `update.replay=0` is the plain form.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sivgap.config.locate import read_prompt
from sivgap.config.schema import TrainConfig
from sivgap.config.verifier import VerifierConfig
from sivgap.core.example import Example
from sivgap.core.problem import Problem
from sivgap.models.prompts import PromptWriter
from sivgap.runtime.rng import derive_key
from sivgap.tasks.arithmetic import expressions
from sivgap.tasks.arithmetic_faults import fallible_solution


def mixed(
    examples: Sequence[Example], config: TrainConfig, writer: PromptWriter, end_token: int, half: int, number: int
) -> list[Example]:
    """`examples` of round `number` of a half epoch in random order, among them ``update.replay``'s share of replayed
    ones."""
    key, share = (config.seed, "replay", half, number), config.update.replay
    count, together = round(len(examples) * share / (1 - share)), list(examples)
    if count:
        together += replay_examples(count, writer, config.verifier, end_token, derive_key(*key))
    order = np.random.default_rng(derive_key(*key, "order")).permutation(len(together))
    return [together[i] for i in order]


def replay_examples(
    count: int, writer: PromptWriter, config: VerifierConfig, end_token: int, seed: int
) -> list[Example]:
    """`count` graded solutions by fallible people, of problems that no run trains on or measures."""
    rng = np.random.default_rng(seed)
    stream = expressions(rng, "pretrain")
    template = read_prompt(config.prompt)
    lead = writer.lead(template, config.answers)
    examples = []
    for _ in range(count):
        expression = next(stream)
        solution, score, _ = fallible_solution(expression, rng)
        problem = Problem(f"replay/{expression.text}", expression.text, "")
        verdict = min(config.answers, key=lambda answer: abs(config.answers[answer] - score))
        prompt = writer.judgement(problem, template, [solution])
        examples.append(Example(prompt, (*writer.encode_answer(lead + verdict), end_token), problem.id))
    return examples
