"""Rebuild the embedded tiny model from nothing: ``make tiny`` (``python -m sivgap.tiny.build``).

Two stages, deterministic on one machine type:

1. Imitation. The model reads solutions by fallible people (about half of them right, `arithmetic_faults`) and,
   separately, verdicts on such solutions that are graded by ground truth. Solving is learnt from imperfect text and
   verifying from perfect labels; that difference is the latent generation-verification gap which self-improvement uses.
2. Verification. Mostly verdicts, with a growing share on the model's *own* samples, drawn anew during the stage and
   graded by ground truth. A verifier that only ever saw other people's faults is blind to its owner's.

Expressions come from the ``pretrain`` part alone; no problem of any run is ever seen here.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sivgap.engines.hf import HFEngine
from sivgap.engines.noise import key_of
from sivgap.engines.rollout import Prompt, Sampling
from sivgap.tasks.arithmetic import Expression, Step, expressions
from sivgap.tasks.arithmetic_faults import fallible_solution
from sivgap.tiny import WEIGHTS
from sivgap.tiny.tokenizer import build_tokenizer

VERDICT_WEIGHT = 5.0
"""Loss weight of a verdict token: there are three or so in a text where a solution has twenty."""

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


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    batch_texts: Callable[[int], list[str]],
    steps: int,
    peak: float,
    final: float,
    name: str,
) -> None:
    """AdamW, warm-up over 3 % and cosine from `peak` to `final`; loss on what follows the last heading of each text."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.01)
    headings = torch.tensor(tokenizer.convert_tokens_to_ids(["\nSolution: ", "\nScore: ", "\nVerdict: "]))
    model.train()
    for step in range(steps):
        warm = min(1.0, (step + 1) / (0.03 * steps))
        lr = warm * (final + (peak - final) * 0.5 * (1 + np.cos(np.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = lr
        texts = [text + tokenizer.eos_token for text in batch_texts(step)]
        ids = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")["input_ids"]
        is_heading = torch.isin(ids, headings)
        remaining = is_heading.flip(1).cumsum(1).flip(1)  # headings at or behind each position
        learnt = (remaining == 0) & (ids != tokenizer.pad_token_id)
        is_verdict = is_heading[:, :, None] & (ids[:, :, None] == headings[1:])
        weight = learnt * torch.where(is_verdict.any(2).any(1, keepdim=True), VERDICT_WEIGHT, 1.0)
        logits = model(input_ids=ids, attention_mask=(ids != tokenizer.pad_token_id).long()).logits[:, :-1]
        nll = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        loss = (nll * weight[:, 1:]).sum() / weight[:, 1:].sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"{name} step {step}/{steps} loss {loss.item():.4f}", file=sys.stderr, flush=True)


def imitation_batches(seed: int, batch: int, solve_share: float) -> Callable[[int], list[str]]:
    """Stage 1: solutions by fallible people, and graded solutions by fallible people."""
    rng = np.random.default_rng(seed)
    stream = expressions(rng, "pretrain")

    def batch_texts(step: int) -> list[str]:
        texts = []
        for i in range(batch):
            expression = next(stream)
            if i < solve_share * batch:
                texts.append(solve_text(expression, rng))
            else:
                graded = fallible_solution(expression, rng)
                texts.append(verify_text(expression.text, *graded, rng))
        return texts

    return batch_texts


def own_samples(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, batch: list[Expression], temperature: float, stream: int
) -> list[tuple[Expression, str]]:
    """Four of the model's own solutions to each expression."""
    engine = HFEngine(model, [tokenizer.eos_token_id], tokenizer.pad_token_id, batch_size=2048)
    texts = [f"Question: {e.text}\nSolution: " for e in batch]
    prompts = [
        Prompt(tuple(ids), key_of(text))
        for ids, text in zip(tokenizer(texts)["input_ids"], texts, strict=True)
    ]
    rollouts = engine.rollout(prompts, Sampling(4, temperature, 48, stream))
    solutions = tokenizer.batch_decode(rollouts.tokens, skip_special_tokens=True)
    return [(batch[i // 4], solution) for i, solution in enumerate(solutions)]


def verification_batches(
    seed: int,
    batch: int,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    solve_share: float,
    own_share: float,
    redraw: int,
) -> Callable[[int], list[str]]:
    """Stage 2: solving goes on at `solve_share`; of the graded solutions, `own_share` are the model's own.

    Half of those are drawn at temperature 0.5: they stand for the sharper solver that self-improvement will make of
    this model, whose faults are fewer and harder to see.
    """
    rng = np.random.default_rng(seed)
    stream = expressions(rng, "pretrain")
    imitation = imitation_batches(seed + 1, batch, solve_share)
    pool: list[tuple[Expression, str]] = []

    def batch_texts(step: int) -> list[str]:
        if step % redraw == 0:
            pool.clear()
            for i, temperature in enumerate((1.0, 0.5)):
                fresh = [next(stream) for _ in range(512)]
                pool.extend(own_samples(model, tokenizer, fresh, temperature, key_of(seed, step, i)))
            model.requires_grad_(True).train()
        texts = imitation(step)
        first = round(batch * (solve_share + (1 - solve_share) * (1 - own_share)))
        for i in range(first, batch):
            expression, solution = pool[int(rng.integers(len(pool)))]
            texts[i] = verify_text(expression.text, solution, *true_score(expression, solution), rng)
        return texts

    return batch_texts


def build(seed: int, imitation_steps: int, verification_steps: int) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Both stages, from untrained weights to the model that ships."""
    tokenizer = build_tokenizer()
    model = new_model(tokenizer, seed)
    train(model, tokenizer, imitation_batches(seed, 96, 0.4), imitation_steps, 2e-3, 4e-4, "imitation")
    batches = verification_batches(seed + 10, 96, model, tokenizer, solve_share=0.3, own_share=0.5, redraw=250)
    train(model, tokenizer, batches, verification_steps, 1e-3, 5e-5, "verification")
    return model, tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--imitation-steps", type=int, default=3000)
    parser.add_argument("--verification-steps", type=int, default=3500)
    parser.add_argument("--threads", type=int, default=2, help="part of the recipe: sums depend on it")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model, tokenizer = build(arguments.seed, arguments.imitation_steps, arguments.verification_steps)
    model.set_attn_implementation("sdpa")
    model.save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)
    print(arguments.out)


if __name__ == "__main__":
    main()
