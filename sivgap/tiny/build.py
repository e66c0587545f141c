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
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sivgap.engines.hf import HFEngine
from sivgap.engines.noise import key_of
from sivgap.engines.rollout import Prompt, Sampling
from sivgap.tasks.arithmetic import Expression, Step, expressions
from sivgap.tasks.arithmetic_faults import fallible_solution, said_value
from sivgap.tiny import WEIGHTS
from sivgap.tiny.tokenizer import build_tokenizer

VERDICT_WEIGHT = 5.0
"""Loss weight of a verdict token: there are three or so in a text where a solution has twenty."""

Marked = tuple[str, str, float, bool]
"""A question, a solution, its true score, and whether its answer is right."""

_STEP = re.compile(r"(-?\d+)([*+-])(-?\d+)=(-?\d+)")


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """An untrained Llama of 857 k parameters."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def true_score(expression: Expression, solution: str) -> tuple[float, bool]:
    """Score of any solution text by ground truth, as `fallible_solution` scores its own."""
    answer = re.search(r"Answer: (-?\d+)$", solution)
    correct = answer is not None and int(answer[1]) == expression.value
    if correct:
        return 1.0, True
    steps = _STEP.findall(solution)[:2]
    right = sum(Step(int(a), op, int(b)).value == int(v) for a, op, b, v in steps)
    return 0.4 * right, False


def solve_text(expression: Expression, rng: np.random.Generator) -> str:
    return f"Question: {expression.text}\nSolution: {fallible_solution(expression, rng)[0]}"


def verify_text(question: str, solution: str, score: float, correct: bool, rng: np.random.Generator) -> str:
    """A graded solution; two of three ask for the score (QE), one for the verdict (TF)."""
    asked = f"\nScore: {score:.1f}" if rng.random() < 2 / 3 else f"\nVerdict: {correct}"
    return f"Question: {question}\nSolution: {solution}{asked}"


def facts_text(stream: Iterator[Expression], rng: np.random.Generator) -> str:
    """Four exact facts from a textbook, of the kind that solutions need: ``9*3=27, 27+34=61, ...``"""
    facts: list[str] = []
    for expression in itertools.islice(stream, 2):
        second = expression.second(said_value(expression.first, rng))
        facts += [f"{s.left}{s.op}{s.right}={s.value}" for s in (expression.first, second)]
    return ", ".join(facts)


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


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    batch_texts: Callable[[int], list[str]],
    steps: int,
    peak: float,
    final: float,
    name: str,
) -> None:
    """AdamW, warm-up over 3 % and cosine from `peak` to `final`."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(steps):
        warm = min(1.0, (step + 1) / (0.03 * steps))
        for group in optimizer.param_groups:
            group["lr"] = warm * (final + (peak - final) * 0.5 * (1 + np.cos(np.pi * step / steps)))
        texts = [text + tokenizer.eos_token for text in batch_texts(step)]
        ids = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")["input_ids"]
        weight = loss_weights(ids, tokenizer)[:, 1:]
        model.train()
        logits = model(input_ids=ids, attention_mask=(ids != tokenizer.pad_token_id).long()).logits[:, :-1]
        nll = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        loss = (nll * weight).sum() / weight.sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"{name}: step {step} of {steps}, loss {loss.item():.4f}", file=sys.stderr, flush=True)


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


def own_samples(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    batch: list[Expression],
    temperature: float,
    stream: int,
) -> list[tuple[Expression, str]]:
    """Four of the model's own solutions to each expression."""
    engine = HFEngine(model, [tokenizer.eos_token_id], tokenizer.pad_token_id, batch_size=2048)
    texts = [f"Question: {e.text}\nSolution: " for e in batch]
    prompts = [Prompt(tuple(ids), key_of(text)) for ids, text in zip(tokenizer(texts)["input_ids"], texts, strict=True)]
    rollouts = engine.rollout(prompts, Sampling(4, temperature, 48, stream))
    solutions = tokenizer.batch_decode(rollouts.tokens, skip_special_tokens=True)
    return [(batch[i // 4], solution) for i, solution in enumerate(solutions)]


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
                for expression, solution in own_samples(model, tokenizer, fresh, temperature, key_of(seed, step, i)):
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
    model = new_model(tokenizer, seed)
    train(model, tokenizer, reading_batches(seed, 96, facts=0.08, solutions=0.3), reading_steps, 2e-3, 4e-4, "reading")
    batches = marking_batches(seed + 10, 96, model, tokenizer, shares=(0.08, 0.25, 0.4), redraw=300)
    train(model, tokenizer, batches, marking_steps, 1.2e-3, 5e-5, "marking")
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
