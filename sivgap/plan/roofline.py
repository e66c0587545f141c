"""Seconds of sampling and verifying by figures of the hardware, where nothing was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sivgap.engines.hf import TURN
from sivgap.models.shape import Shape
from sivgap.plan.hardware import OF_BANDWIDTH, Hardware
from sivgap.plan.passes import Passes
from sivgap.plan.team import telling
from sivgap.plan.work import Lengths, VerifierWork

A_LAYER = 0.4e-3
"""Seconds that a layer of the lean pass (`models.decoder`) takes to be started from Python, however little it does;
0.42 to 0.46 ms measured on a processor, where transformers' own takes 0.9."""
LONGEST = 2.0
"""Passes until all verdicts of a batch have ended, in mean lengths: theirs are not known singly."""


@dataclass(frozen=True)
class Sampler:
    """An engine: a model with weights of `width` bytes, in equal parts on `team` devices.

    Attributes:
        a_layer: Seconds to start a layer; 0 with CUDA graphs.
    """

    device: Hardware
    shape: Shape
    width: int
    team: int = 1
    a_layer: float = A_LAYER

    def read(self, tokens: float, context: float, passes: float) -> float:
        """Seconds of `tokens` tokens that attend to `context` others each."""
        return self._longest(tokens, context, passes, 0) + self.told(tokens, 0, passes)

    def write(self, tokens: float, context: float, passes: float) -> float:
        """Seconds of drawing `tokens` tokens, which read the keys and values of `context` others each."""
        places = tokens * context * 2 * self.shape.layers * self.shape.keys * self.width
        return self._longest(tokens, context, passes, places) + self.told(tokens, tokens, passes)

    def told(self, tokens: float, drawn: float, passes: float) -> float:
        """Seconds of `team.telling`."""
        return telling(self.shape, self.width, self.team, self.device.link, tokens, drawn, passes)

    def _longest(self, tokens: float, context: float, passes: float, places: float) -> float:
        """Of FLOPs, and of reading all weights in each pass and `places` bytes of cache; and of starting layers."""
        flops = self.shape.forward(tokens, context) / (self.device.sampling * self.device.flops)
        moved = (passes * self.shape.parameters * self.width + places) / (OF_BANDWIDTH * self.device.bandwidth)
        work, started = max(flops, moved) / self.team, passes * self.shape.layers * self.a_layer
        return max(work, started) if self.device.ahead else work + started


class Reads(Protocol):
    """What knows the seconds of an engine's work."""

    def read(self, tokens: float, context: float, passes: float) -> float: ...

    def write(self, tokens: float, context: float, passes: float) -> float: ...


def roofline(
    solver: Reads,
    judge: Reads,
    lengths: Lengths,
    about: VerifierWork,
    rows: float,
    n: int,
    passes: Passes,
    in_pass: bool,
) -> tuple[float, float]:
    """Seconds a response token, and a verdict on a response.

    Args:
        about: What the judge reads and writes about a response.
        rows: Responses in a batch, `n` to a prompt.
        passes: Of a batch.
        in_pass: Whether a question is put behind the response, to those that end together.
    """
    context = lengths.prompt + lengths.response / 2
    wrote = solver.write(rows * lengths.response, context, passes.steps)
    wrote += solver.read(rows / n * lengths.prompt, context, passes.turns)
    turns, passes_a_turn = (passes.turns, TURN - 1) if in_pass else (1.0, 1)  # of a turn's one reads prompts
    verified = judge.read(rows * about.read, context, turns * passes_a_turn)
    if about.written:
        verified += judge.write(rows * about.written, context, max(1.0, turns) * LONGEST * about.written)
    return wrote / (rows * lengths.response), verified / rows
