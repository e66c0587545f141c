"""Products of rows with a weight, the way a processor does them fastest.

On x86, oneDNN multiplies by a weight that lies in a layout of its own 1.1 to 2.5 times as fast as torch does by one in
rows, most where rows are few. The copy in that layout takes as much memory as the weight; it is made of models that are
small enough for a processor anyway, and anew when the weights change. A number of rows that oneDNN has not met yet
costs it half a millisecond, so rows come in steps (`rounded`).
"""

from __future__ import annotations

import platform
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

MOST_COPIED = 2 * 2**30
"""Bytes of weights of which copies are made."""
_WORTH = {torch.float32: 2**20, torch.bfloat16: 0}
"""Multiplications below which it takes longer to begin than torch's own product does."""


class PrepackedLinear:
    """x W^T + b, of a weight (outputs, inputs) and perhaps a bias (outputs,)."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight, self.bias = weight, bias
        self._copy: Tensor | None = None
        self._least = _WORTH.get(weight.dtype, 0) / weight.numel()

    def prepack(self) -> None:
        """Take the weight over as it is now."""
        self._copy = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach(), 64)  # fit for any number but one

    def drop_prepacked(self) -> None:
        self._copy = None

    def __call__(self, x: Tensor) -> Tensor:
        """(rows, inputs) -> (rows, outputs)."""
        if self._copy is None or len(x) < self._least:
            return functional.linear(x, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(x, self._copy, self.bias, "none", [], "")  # type: ignore[no-any-return]


def copies_here() -> bool:
    """Whether this machine multiplies faster by copies of weights."""
    return (
        platform.machine() in ("x86_64", "AMD64")
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def worth_copying(products: Sequence[PrepackedLinear]) -> bool:
    """Whether this machine multiplies faster by copies of these weights, and has room for them."""
    weights = [product.weight for product in products]
    return (
        copies_here()
        and all(weight.device.type == "cpu" and weight.dtype in _WORTH for weight in weights)
        and (weights[0].dtype != torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported())
        and sum(weight.nbytes for weight in weights) <= MOST_COPIED
    )


def rounded(rows: int) -> int:
    """The least step from `rows` on: sixteen between a power of two and the next, beyond 1,024 one every 64 rows."""
    step = min(64, 1 << max(0, rows.bit_length() - 5))
    return -(-rows // step) * step
