"""Hardware that a plan is for: named, or this machine as it is measured in a moment."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

OF_FLOPS, OF_BANDWIDTH = 0.4, 0.6
"""Share of the FLOPs that training reaches (of the embedded model, on a processor, the same was measured), and sampling
on a GPU; and of the bandwidth that writing a token reaches. Of GPUs both are assumed."""
OF_PROCESSOR = 0.75
"""Share of the FLOPs that sampling reaches on a processor: 150 to 180 of 220 GFLOP/s with the embedded model."""


@dataclass(frozen=True)
class Link:
    """Between devices of one machine, which add up what each has: seconds of a message however short, and bytes a
    second that a device sends."""

    message: float
    bandwidth: float


@dataclass(frozen=True)
class Hardware:
    """One device: FLOPs a second in its matrix units at 16 bits (a processor: at 32), bytes a second from memory, bytes
    of memory, what joins it to others, whether Python starts layers while it still computes those before, and the share
    of the FLOPs that sampling reaches."""

    name: str
    flops: float
    bandwidth: float
    memory: float
    link: Link
    ahead: bool = True
    sampling: float = OF_FLOPS


MESSAGE = 1e-5
"""Seconds of a short message between GPUs: assumed, not measured."""
NAMED = {
    name: Hardware(name.upper(), tera * 1e12, terabytes * 1e12, gib * 2**30, Link(MESSAGE, gigabytes * 1e9))
    for name, tera, terabytes, gib, gigabytes in (  # NVIDIA's data sheets: dense bfloat16; NVLink (L40S: PCIe) one way
        ("l40s", 362, 0.864, 48, 32),
        ("a100", 312, 2.0, 80, 300),
        ("h100", 989, 3.35, 80, 450),
        ("h200", 989, 4.8, 141, 450),
    )
}
UNKNOWN = Link(MESSAGE, 32e9)
"""Of GPUs that are not among these: PCIe 4.0."""
BY_GLOO = Link(4e-4, 1.2e9)
"""Between processes of a processor: 0.2 to 1.1 ms and 0.6 to 1.5 GB/s between two, on two busy cores."""

_SQUARE = 2048
_COPIED = 2**27


def this_machine() -> Hardware:
    """The GPU, or the processor with the threads that torch has, by one product and one copy."""
    import torch

    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    matrix = torch.ones((_SQUARE, _SQUARE), device=device, dtype=torch.bfloat16 if cuda else torch.float32)
    block = torch.ones(_COPIED // 4, device=device)
    other = torch.zeros_like(block)  # written to before: new memory costs more than the copy

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
    bandwidth = 2 * _COPIED / seconds(lambda: other.copy_(block))
    if cuda:
        properties = torch.cuda.get_device_properties(0)
        link = next((it.link for key, it in NAMED.items() if key in properties.name.lower()), UNKNOWN)
        return Hardware(properties.name, flops, bandwidth, properties.total_memory, link)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    name = f"this processor, {torch.get_num_threads()} threads"
    return Hardware(name, flops, bandwidth, total, BY_GLOO, ahead=False, sampling=OF_PROCESSOR)
