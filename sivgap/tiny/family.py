"""Rebuild the family of embedded models from nothing: ``make family`` (``python -m sivgap.tiny.family --size m``).

Four sizes, 25 k to 1.2 M parameters, read the same texts for the same number of steps, so their pretraining FLOPs
(6 N D) differ by N alone: the scaling of the generation-verification gap (MG) on a laptop. They read what `build`'s
model reads, with marks of six kinds (`family_texts`), in the same two stages, a third as many texts:

1. Reading. Facts, students' solutions, and marks on students' solutions, of which the solution is learnt, too.
2. Marking itself. The same with most marks on the model's own samples, of which the mark alone is learnt.

Deterministic on one machine type and number of threads.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from sivgap.config.embedded import FAMILY
from sivgap.models.load import device
from sivgap.runtime.files import write_text
from sivgap.runtime.rng import derive_key
from sivgap.tasks.arithmetic import Expression, expressions
from sivgap.tasks.arithmetic_faults import fallible_solution
from sivgap.tiny.family_texts import family_loss_weights, mark_text, tournament_text
from sivgap.tiny.texts import facts_text, solve_text, true_score
from sivgap.tiny.tokenizer import FAMILY_WORDS, build_tokenizer
from sivgap.tiny.training import Shape, Stage, muon, new_model, own_samples, train

CONTEXT = 512
BATCH = 64
PASSES = 5
"""Groups of texts of similar length in a step: 11 % of the tokens are padding; with one group 47 % would be."""
SHARES = {
    "facts": 0.06, "solve": 0.22, "qe": 0.13, "tf": 0.10, "mc": 0.10, "cot_binary": 0.14, "cot_score": 0.11,
    "tournament": 0.14,
}  # fmt: skip
"""Of all texts, in both stages."""
OWN = 0.6
"""Share of the marks of stage 2 that are on the model's own samples."""
REDRAW = 300
"""Steps for which own samples are used."""

Judged = tuple[Expression, str, str]
"""An expression, a solution to it, and another solution, which one of the two formats compares with the first."""


SIZES = {
    "xs": Shape(hidden=32, intermediate=80, layers=2, heads=2, context=CONTEXT),
    "s": Shape(hidden=48, intermediate=144, layers=3, heads=3, context=CONTEXT),
    "m": Shape(hidden=80, intermediate=240, layers=4, heads=5, context=CONTEXT),
    "l": Shape(hidden=160, intermediate=416, layers=4, heads=5, context=CONTEXT),
}
PEAK = 2e-3
"""Learning rate of embeddings and norms; `training.muon` moves matrices by a step of the same size in every shape."""


def family_tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer(FAMILY_WORDS, CONTEXT)


def students(stream: Iterator[Expression], rng: np.random.Generator) -> Judged:
    """An expression with two students' solutions, mostly one right and one wrong."""
    expression = next(stream)
    first, _, right = fallible_solution(expression, rng)
    for _ in range(4):
        second, _, other = fallible_solution(expression, rng)
        if other != right:
            break
    return expression, first, second


def family_batches(
    seed: int, own: Callable[[int, np.random.Generator], Judged] | None = None
) -> Callable[[int], list[str]]:
    """The texts of each step; with `own` (step, generator) the share `OWN` of marks is on what it draws."""
    rng = np.random.default_rng(seed)
    stream = expressions(rng, "pretrain")
    forms, shares = list(SHARES), np.array(list(SHARES.values()))

    def text(form: str, step: int) -> str:
        if form == "facts":
            return facts_text(stream, rng)
        if form == "solve":
            return solve_text(next(stream), rng)
        drawn = own(step, rng) if own is not None and rng.random() < OWN else students(stream, rng)
        expression, first, second = drawn
        if form == "tournament":
            return tournament_text(expression, first, second, rng)
        return mark_text(form, expression, first, rng)

    def batch_texts(step: int) -> list[str]:
        return [text(forms[i], step) for i in rng.choice(len(forms), BATCH, p=shares / shares.sum())]

    return batch_texts


def own_solutions(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int
) -> Callable[[int, np.random.Generator], Judged]:
    """Draws of the model's own samples: right and wrong equally often, the other of the opposite kind if there is one.

    They are sampled anew every `REDRAW` steps, half of them at temperature 0.5 (`build.marking_batches` says why).
    """
    stream = expressions(np.random.default_rng(seed), "pretrain")
    pools: dict[bool, list[Judged]] = {True: [], False: []}

    def renew(step: int) -> None:
        for pool in pools.values():
            pool.clear()
        for i, temperature in enumerate((1.0, 0.5)):
            fresh = list(itertools.islice(stream, 768))
            sampled = own_samples(model, tokenizer, fresh, temperature, derive_key(seed, step, i))
            for _, group in itertools.groupby(sampled, key=lambda one: one[0]):
                marked = [(e, solution, true_score(e, solution)[1]) for e, solution in group]
                for place, (expression, solution, right) in enumerate(marked):
                    others = [s for _, s, other in marked if other != right]
                    second = others[place % len(others)] if others else marked[place - 1][1]
                    pools[right].append((expression, solution, second))
        model.requires_grad_(True)

    renewed: set[int] = set()

    def draw(step: int, rng: np.random.Generator) -> Judged:
        if step // REDRAW not in renewed:
            renewed.add(step // REDRAW)
            renew(step)
        right = bool(rng.random() < 0.5)
        pool = pools[right] or pools[not right]
        return pool[int(rng.integers(len(pool)))]

    return draw


def build(
    shape: Shape, seed: int, reading_steps: int, marking_steps: int
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast, int]:
    """Both stages, from untrained weights; the model, its tokenizer, and the tokens that it read."""
    tokenizer = family_tokenizer()
    model = new_model(tokenizer, shape, seed).to(device())
    reading = Stage("reading", reading_steps, PEAK, 0.3 * PEAK)
    with_solutions = partial(family_loss_weights, solutions=True)
    tokens = train(model, tokenizer, family_batches(seed), with_solutions, reading, PASSES, muon)
    texts = family_batches(seed + 1, own_solutions(model, tokenizer, seed + 2))
    marking = Stage("marking", marking_steps, 0.5 * PEAK, 0.02 * PEAK)
    tokens += train(model, tokenizer, texts, family_loss_weights, marking, PASSES, muon)
    return model, tokenizer, tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", choices=SIZES, nargs="+", default=list(SIZES))
    parser.add_argument("--out", type=Path, default=FAMILY)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reading-steps", type=int, default=1300)
    parser.add_argument("--marking-steps", type=int, default=1300)
    parser.add_argument("--threads", type=int, default=1, help="part of the recipe: sums depend on it")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    for name in a.size:
        started = time.monotonic()
        model, tokenizer, tokens = build(SIZES[name], a.seed, a.reading_steps, a.marking_steps)
        folder = a.out / name
        model.set_attn_implementation("sdpa")
        parameters = model.num_parameters()
        model.to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        took = {"parameters": parameters, "tokens": tokens, "flops": 6 * parameters * tokens}
        recipe = {"steps": [a.reading_steps, a.marking_steps], "batch": BATCH, "seed": a.seed}
        write_text(folder / "pretraining.json", json.dumps(took | recipe, indent=1) + "\n")
        print(f"{folder}: {tokens} tokens, {time.monotonic() - started:.0f} s", file=sys.stderr)
        print(folder)


if __name__ == "__main__":
    main()
