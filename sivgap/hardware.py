"""What a run runs on: settings of the processor, and a description for ``status.json``."""

from __future__ import annotations

import ctypes
import os
import platform
from typing import Any

import torch

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # glibc's names for mallopt, malloc.h


def prepare_processor(threads: int | None) -> None:
    """Use `threads` threads (None: torch's choice), and without a GPU keep freed memory for the next tensor.

    By default glibc gives every large block back to the system when it is freed; the next one of that size then costs a
    page fault for every 4 KiB, a fifth of the time that sampling takes on a processor.
    """
    if threads:
        torch.set_num_threads(threads)
    if platform.libc_ver()[0] == "glibc" and not torch.cuda.is_available():
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def describe_hardware() -> dict[str, Any]:
    """Processor, threads, and GPUs with their memory."""
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [{"name": gpu.name, "gib": round(gpu.total_memory / 2**30, 1)} for gpu in gpus],
    }
