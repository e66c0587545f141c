"""Pretraining of the embedded models: shapes, the optimizer's loop, and samples of a model still being trained."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sivgap.core.rollout import Prompt, Sampling
from sivgap.engines.hf import HFEngine
from sivgap.runtime.rng import derive_key
from sivgap.tasks.arithmetic import Expression

VERDICT_WEIGHT = 5.0
"""Loss weight of a verdict token: there are three or so in a text where a solution has twenty."""

LossWeights = Callable[[Tensor, PreTrainedTokenizerFast], Tensor]
"""What is learnt of each text, from token ids (rows, tokens): a weight for each token."""


@dataclass(frozen=True)
class Shape:
    """Dimensions of a Llama; `context` is the longest text in tokens."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    context: int


@dataclass(frozen=True)
class Stage:
    """A stretch of training: learning rate from `peak` to `final`."""

    name: str
    steps: int
    peak: float
    final: float


def new_model(tokenizer: PreTrainedTokenizerFast, shape: Shape, seed: int) -> LlamaForCausalLM:
    """An untrained Llama with tied embeddings."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.heads,
            max_position_embeddings=shape.context,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def adamw(model: LlamaForCausalLM, peak: float) -> list[Optimizer]:
    """AdamW for everything."""
    return [torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.01)]


def muon(model: LlamaForCausalLM, peak: float) -> list[Optimizer]:
    """Muon for the layers' matrices, at ten times the rate of AdamW for embeddings and norms."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=10 * peak, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(others, lr=peak, betas=(0.9, 0.98), weight_decay=0.01),
    ]


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    batch_texts: Callable[[int], list[str]],
    loss_weights: LossWeights,
    stage: Stage,
    passes: int = 1,
    optimizers: Callable[[LlamaForCausalLM, float], list[Optimizer]] = adamw,
) -> int:
    """Warm-up over 3 % of the steps and cosine; returns the tokens that were read, padding left out.

    With more than one of `passes` a step's texts are sorted by length and go through the model in that many groups,
    which saves padding; the gradient is that of the whole batch.
    """
    chosen = optimizers(model, stage.peak)
    peaks = [(group, group["lr"] / stage.peak) for optimizer in chosen for group in optimizer.param_groups]
    tokens = 0
    for step in range(stage.steps):
        warm = min(1.0, (step + 1) / (0.03 * stage.steps))
        cosine = 0.5 * (1 + np.cos(np.pi * step / stage.steps))
        for group, relative in peaks:
            group["lr"] = relative * (warm * (stage.final + (stage.peak - stage.final) * cosine))
        texts = [text + tokenizer.eos_token for text in batch_texts(step)]
        batches = _by_length(texts, tokenizer, passes)
        weights = [loss_weights(ids, tokenizer)[:, 1:] for ids in batches]
        total = sum(weight.sum() for weight in weights)
        model.train()
        model.zero_grad(set_to_none=True)
        summed = 0.0
        for ids, weight in zip(batches, weights, strict=True):
            loss = _summed_loss(model, ids, weight, tokenizer.pad_token_id) / total
            loss.backward()  # type: ignore[no-untyped-call]
            summed += loss.item()
            tokens += int((ids != tokenizer.pad_token_id).sum())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in chosen:
            optimizer.step()
        if step % 100 == 0 or step == stage.steps - 1:
            print(f"{stage.name}: step {step} of {stage.steps}, loss {summed:.4f}", file=sys.stderr, flush=True)
    return tokens


def _by_length(texts: list[str], tokenizer: PreTrainedTokenizerFast, groups: int) -> list[Tensor]:
    """Token ids (rows, tokens), padded on the right: all texts as they come, or in groups of similar length."""
    if groups > 1:
        lengths = [len(ids) for ids in tokenizer(texts)["input_ids"]]
        texts = [texts[i] for i in np.argsort(lengths, kind="stable")]
    bounds = [len(texts) * i // groups for i in range(groups + 1)]
    return [
        tokenizer(texts[a:b], padding=True, padding_side="right", return_tensors="pt")["input_ids"]
        for a, b in itertools.pairwise(bounds)
    ]


def _summed_loss(model: LlamaForCausalLM, ids: Tensor, weight: Tensor, pad: int) -> Tensor:
    """Weighted negative log-likelihood of every token but the first, summed."""
    ids, weight = ids.to(model.device), weight.to(model.device)
    logits = model(input_ids=ids, attention_mask=(ids != pad).long()).logits[:, :-1]
    nll = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    return (nll * weight).sum()


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
    prompts = [
        Prompt(tuple(ids), derive_key(text)) for ids, text in zip(tokenizer(texts)["input_ids"], texts, strict=True)
    ]
    rollouts = engine.rollout(prompts, Sampling(4, temperature, 48, stream))
    solutions = tokenizer.batch_decode(rollouts.tokens, skip_special_tokens=True)
    return [(batch[i // 4], solution) for i, solution in enumerate(solutions)]
