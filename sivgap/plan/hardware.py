"""Hardware that a plan is for: named, or this machine as it is measured in a moment."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from sivgap.models.shape import Shape
from sivgap.plan.work import Asked, Lengths


@dataclass(frozen=True)
class Hardware:
    """One device: FLOPs a second in its matrix units at 16 bits (a processor: at 32), bytes a second from memory, and
    bytes of memory."""

    name: str
    flops: float
    bandwidth: float
    memory: float


NAMED = {
    name: Hardware(name.upper(), tera * 1e12, terabytes * 1e12, gib * 2**30)
    for name, tera, terabytes, gib in (  # NVIDIA's data sheets: dense bfloat16
        ("l40s", 362, 0.864, 48),
        ("a100", 312, 2.0, 80),
        ("h100", 989, 3.35, 80),
        ("h200", 989, 4.8, 141),
    )
}

OF_FLOPS, OF_BANDWIDTH = 0.4, 0.6
"""Share of the peak that training and reading prompts reach, and of the bandwidth that writing a token reaches."""
A_LAYER = 0.4e-3
"""Seconds that a layer of the lean pass (`models.decoder`) takes to be started from Python, however little it does;
0.42 to 0.46 ms measured on a processor, where transformers' own takes 0.9."""
LONGEST = 2.0
"""Steps until all responses of a batch have ended, in mean lengths."""

_SQUARE = 2048
_COPIED = 2**27


def this_machine() -> Hardware:
    """The GPU, or the processor with the threads that torch has, by one product and one copy."""
    import torch

    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    matrix = torch.ones((_SQUARE, _SQUARE), device=device, dtype=torch.bfloat16 if cuda else torch.float32)
    block = torch.ones(_COPIED // 4, device=device)

    def seconds(work: object) -> float:
        found = []
        for _ in range(3):
            started = time.perf_counter()
            work()  # type: ignore[operator]
            if cuda:
                torch.cuda.synchronize()
            found.append(time.perf_counter() - started)
        return min(found)

    flops = 2 * _SQUARE**3 / seconds(lambda: matrix @ matrix)
    bandwidth = 2 * _COPIED / seconds(block.clone)
    if cuda:
        properties = torch.cuda.get_device_properties(0)
        return Hardware(properties.name, flops, bandwidth, properties.total_memory)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Hardware(f"this processor, {torch.get_num_threads()} threads", flops, bandwidth, total)


def roofline(
    device: Hardware, shape: Shape, lengths: Lengths, about: Asked, width: int, rows: float, n: int
) -> tuple[float, float]:
    """Seconds a response token, and a verdict on a response, where nothing was measured.

    A step of `rows` responses costs the longest of its FLOPs, of reading all weights and the rows' keys and values, and
    of starting its layers.
    """
    context = lengths.prompt + lengths.response / 2
    a_place = 2 * shape.layers * shape.keys * width

    def reading(tokens: float) -> float:
        return shape.forward(tokens, context) / (OF_FLOPS * device.flops)

    def writing(tokens: float, steps: float) -> float:
        """`rows` texts of `tokens` tokens each, in `steps` steps."""
        moved = steps * shape.parameters * width + rows * tokens * context * a_place
        started = steps * shape.layers * A_LAYER
        return max(reading(rows * tokens), moved / (OF_BANDWIDTH * device.bandwidth), started)

    wrote = writing(lengths.response, LONGEST * lengths.response) + reading(rows / n * lengths.prompt)
    verified = reading(rows * about.read) + (writing(about.written, LONGEST * about.written) if about.written else 0)
    return wrote / (rows * lengths.response), verified / rows
