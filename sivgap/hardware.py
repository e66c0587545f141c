"""What a run ran on, for ``status.json``."""

from __future__ import annotations

import os
import platform
from typing import Any

import torch


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
