"""Rebuild the embedded tiny model from nothing: ``make tiny`` (``python -m sivgap.tiny.build``).

Like a real base model it has read three kinds of text: textbooks (exact facts), what students write (about half of it
right, `arithmetic_faults`), and teachers' marks on what students wrote. So it writes like a student and knows better:
that difference is the latent generation-verification gap which self-improvement uses. Two stages, deterministic on one
machine type:

1. Reading. Facts, students' solutions, and marks on students' solutions.
2. Marking itself. The same, with half of the marks on the model's *own* samples, drawn anew during the stage and
   marked by ground truth: a verifier that only ever saw other people's faults is blind to its owner's.

Expressions come from the ``pretrain`` part alone; no problem of any run is ever seen here.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from sivgap.config.embedded import WEIGHTS
from sivgap.runtime.rng import derive_key
from sivgap.tasks.arithmetic import expressions
from sivgap.tasks.arithmetic_faults import fallible_solution
from sivgap.tiny.texts import facts_text, solve_text, true_score
from sivgap.tiny.tokenizer import build_tokenizer
from sivgap.tiny.training import VERDICT_WEIGHT, Shape, Stage, new_model, own_samples, train

Marked = tuple[str, str, float, bool]
"""A question, a solution, its true score, and whether its answer is right."""

SHAPE = Shape(hidden=128, intermediate=384, layers=4, heads=4, context=256)
"""857 k parameters."""


def verify_text(question: str, solution: str, score: float, correct: bool, rng: np.random.Generator) -> str:
    """A graded solution; two of three ask for the score (QE), one for the verdict (TF)."""
    asked = f"\nScore: {score:.1f}" if rng.random() < 2 / 3 else f"\nVerdict: {correct}"
    return f"Question: {question}\nSolution: {solution}{asked}"


def loss_weights(ids: Tensor, tokenizer: PreTrainedTokenizerFast) -> Tensor:
    """What is learnt of each text (rows, tokens): a mark, a solution, or in a text without headings the results."""
    word = {w: tokenizer.convert_tokens_to_ids(w) for w in ("\nSolution: ", "\nScore: ", "\nVerdict: ", "=", ", ")}
    marks = (ids == word["\nScore: "]) | (ids == word["\nVerdict: "])
    headings = marks | (ids == word["\nSolution: "])
    behind_last = headings.flip(1).cumsum(1).flip(1) == 0
    opened = (ids == word["="]).cumsum(1) - (ids == word[", "]).cumsum(1)
    in_result = torch.nn.functional.pad(opened, (1, -1)) > 0
    learnt = torch.where(headings.any(1, keepdim=True), behind_last, in_result) & (ids != tokenizer.pad_token_id)
    weights: Tensor = learnt * torch.where(marks.any(1, keepdim=True), VERDICT_WEIGHT, 1.0)
    return weights


def reading_batches(seed: int, batch: int, facts: float, solutions: float) -> Callable[[int], list[str]]:
    """Stage 1: shares of facts and of students' solutions; the rest are marks on students' solutions."""
    rng = np.random.default_rng(seed)
    stream = expressions(rng, "pretrain")

    def batch_texts(step: int) -> list[str]:
        texts = []
        for i in range(batch):
            if i < facts * batch:
                texts.append(facts_text(stream, rng))
            elif i < (facts + solutions) * batch:
                texts.append(solve_text(next(stream), rng))
            else:
                expression = next(stream)
                texts.append(verify_text(expression.text, *fallible_solution(expression, rng), rng))
        return texts

    return batch_texts


def marking_batches(
    seed: int,
    batch: int,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    shares: tuple[float, float, float],
    redraw: int,
) -> Callable[[int], list[str]]:
    """Stage 2: shares of facts, students' solutions, and marks on the model's own samples; the rest as in stage 1.

    Half of the own samples are drawn at temperature 0.5: they stand for the sharper solver that self-improvement will
    make of this model, whose faults are fewer and harder to see. Right and wrong samples are drawn equally often.
    """
    facts, solutions, own = shares
    rng = np.random.default_rng(seed)
    stream = expressions(rng, "pretrain")
    reading = reading_batches(seed + 1, batch, facts, solutions)
    right: list[Marked] = []
    wrong: list[Marked] = []

    def batch_texts(step: int) -> list[str]:
        if step % redraw == 0:
            right.clear()
            wrong.clear()
            for i, temperature in enumerate((1.0, 0.5)):
                fresh = list(itertools.islice(stream, 768))
                for expression, solution in own_samples(
                    model, tokenizer, fresh, temperature, derive_key(seed, step, i)
                ):
                    score, correct = true_score(expression, solution)
                    (right if correct else wrong).append((expression.text, solution, score, correct))
            model.requires_grad_(True)
        texts = reading(step)
        for i in range(round(batch * (1 - own)), batch):
            pool = right if rng.random() < 0.5 else wrong
            texts[i] = verify_text(*pool[int(rng.integers(len(pool)))], rng)
        return texts

    return batch_texts


def build(seed: int, reading_steps: int, marking_steps: int) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Both stages, from untrained weights to the model that ships."""
    tokenizer = build_tokenizer()
    model = new_model(tokenizer, SHAPE, seed)
    reading = reading_batches(seed, 96, facts=0.08, solutions=0.3)
    train(model, tokenizer, reading, loss_weights, Stage("reading", reading_steps, 2e-3, 4e-4))
    batches = marking_batches(seed + 10, 96, model, tokenizer, shares=(0.08, 0.25, 0.4), redraw=300)
    train(model, tokenizer, batches, loss_weights, Stage("marking", marking_steps, 1.2e-3, 5e-5))
    return model, tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reading-steps", type=int, default=2500)
    parser.add_argument("--marking-steps", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=2, help="part of the recipe: sums depend on it")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model, tokenizer = build(arguments.seed, arguments.reading_steps, arguments.marking_steps)
    model.set_attn_implementation("sdpa")
    model.save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)
    print(arguments.out)


if __name__ == "__main__":
    main()
