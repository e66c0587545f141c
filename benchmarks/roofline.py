"""What this machine can do, measured: matrix rate and memory bandwidth, which other benchmarks set their times against.

python benchmarks/roofline.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Roofline:
    """FLOP/s of large matrix products by type, and bytes/s of a copy (read and written), at the threads in use."""

    matrix: dict[str, float]
    bandwidth: float

    def seconds(self, flops: float, dtype: str = "float32") -> float:
        """The least time for so many operations."""
        return flops / self.matrix[dtype]


def measure(device: str = "cpu", seconds: float = 1.0) -> Roofline:
    """The best of repeated runs, about `seconds` for each figure."""
    size = 8192 if device != "cpu" else 1536
    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        rates[str(dtype).removeprefix("torch.")] = 2 * size**3 / _fastest(lambda a=a, b=b: a @ b, seconds, device)
    source = torch.empty(2**28 if device != "cpu" else 2**26, device=device)
    target = torch.empty_like(source)
    copied = 2 * source.numel() * source.element_size()
    return Roofline(rates, copied / _fastest(lambda: target.copy_(source), seconds, device))


def matrix_flops(model: torch.nn.Module, tokens: int) -> float:
    """Operations of the matrices of a forward pass of `tokens` tokens; attention and embedding do not count."""
    tied = model.config.tie_word_embeddings
    counted = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2 and (tied or "embed" not in name))
    return 2.0 * counted * tokens


def _fastest(work: Callable[[], object], seconds: float, device: str) -> float:
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return best


if __name__ == "__main__":
    found = measure("cuda" if torch.cuda.is_available() else "cpu")
    for dtype, rate in found.matrix.items():
        print(f"{dtype}: {rate / 1e9:.0f} GFLOP/s")
    print(f"memory: {found.bandwidth / 1e9:.1f} GB/s")
