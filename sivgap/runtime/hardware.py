"""What a run runs on: settings of the processor, and a description for ``status.json``."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's names for mallopt, malloc.h
MUCH = 2**28
"""Bytes of freed memory that are too many to keep from one kind of work to the next."""
_LARGEST = 2**25
"""Bytes from which on a block is given back at once: the most that glibc allows to be kept."""
_LARGEST_IN_TRAINING = 2**20
_PRODUCTS = 64
"""Kinds of products that oneDNN keeps ready, of 1024 by default: each shape is one, with memory of its own, and while
responses grow and end shapes never come again. A pass has about twenty."""


def keep_freed_memory() -> None:
    """Keep freed memory for the next tensor where there is no GPU, all but the largest blocks.

    By default glibc soon gives every large block back to the system when it is freed; the next one of that size then
    costs a page fault for every 4 KiB, a fifth of the time that sampling takes on a processor. The largest, keys and
    values of a batch, live long enough not to matter; kept among small ones they would leave holes that the next batch
    does not fit into, half a GiB and more of them.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_PRODUCTS))  # read at the first product
    if platform.libc_ver()[0] == "glibc" and not torch.cuda.is_available():
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def large_blocks_given_back() -> Iterator[None]:
    """Within, every block of a MiB and more is given back as it is freed.

    What a training pass keeps for its backward pass is of many sizes and as many lives, and leaves holes: after three
    texts of 620 tokens a model of half a billion parameters held 6.9 GB for 4.8. Beside its products page faults take
    no time.
    """
    usual = platform.libc_ver()[0] == "glibc" and not torch.cuda.is_available()
    if usual:
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGEST_IN_TRAINING)
    try:
        yield
    finally:
        if usual:
            ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGEST)


class _MallInfo(ctypes.Structure):
    """glibc's ``struct mallinfo2``, malloc.h."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
    )]  # fmt: skip


def return_much_freed_memory() -> None:
    """Give freed memory back where one kind of work ends and another begins, if it is more than a little."""
    if torch.cuda.is_available() or platform.libc_ver()[0] != "glibc":
        return
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)  # since glibc 2.33
    if mallinfo is None:
        return
    mallinfo.restype = _MallInfo
    if mallinfo().fordblks > MUCH:
        return_freed_memory()


def return_freed_memory() -> None:
    """Give back what `keep_freed_memory` has kept, once a piece of work is done and another may follow."""
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def describe_hardware(processes: int = 1, threads_from: str = "torch") -> dict[str, Any]:
    """Processor, processes, threads of each (`threads.settle_threads` says where from), and GPUs with their memory."""
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "processes": processes,
        "threads": torch.get_num_threads(),
        "threads_from": threads_from,
        "gpus": [{"name": gpu.name, "gib": round(gpu.total_memory / 2**30, 1)} for gpu in gpus],
    }
