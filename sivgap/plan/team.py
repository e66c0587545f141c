"""Ranks that share an engine (``engine.tensor_parallel``): what each holds, and what they tell each other.

Each has a part of every head and inner layer, so that activations are summed over the team behind attention, behind the
block after it, and behind the embedding, and logits are gathered (Megatron-LM, arXiv 1909.08053, Section 3).
"""

from __future__ import annotations

from dataclasses import replace

from sivgap.models.shape import Shape
from sivgap.plan.hardware import Link


def part(shape: Shape, team: int) -> Shape:
    """What one of `team` devices has of a model; of keys and values a whole head at least, as vLLM has it. Every one
    has what goes from layer to layer, and all logits."""
    keys = max(shape.keys // team, min(shape.head, shape.keys))
    return replace(
        shape, queries=shape.queries // team, keys=keys, inner=shape.inner // team, parameters=shape.parameters / team
    )


def telling(shape: Shape, width: int, team: int, link: Link, tokens: float, drawn: float, passes: float) -> float:
    """Seconds that `team` devices spend on telling each other about `tokens` tokens, in `passes` passes.

    A sum goes round in a ring: of each number a device sends (team - 1) / team twice; of what is gathered, once.

    Args:
        shape: Of the whole model.
        width: Bytes of a number.
        drawn: Of the tokens those whose logits are wanted.
    """
    if team == 1:
        return 0.0
    sums = 2 * shape.layers + 1
    numbers = (team - 1) / team * (2 * sums * shape.hidden * tokens + shape.vocabulary * drawn)
    return passes * (sums + 1) * link.message + numbers * width / link.bandwidth


def shared(alone: float, work: float, told: float, team: int) -> float:
    """Seconds that `team` devices take together for what one takes `alone` for: its `work` is divided, what else there
    is (starting, scheduling, drawing) each does by itself, and on top is what they have `told` each other."""
    return alone - min(alone, work) * (1 - 1 / team) + told
