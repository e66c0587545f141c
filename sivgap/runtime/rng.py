"""Random numbers that belong to what is sampled, not to when or where it is sampled.

A uniform number is a hash of (stream, prompt, sample, position). The stream is (seed, purpose, round) in training and
(seed, purpose) in measurement, so every measurement of a run reuses the same noise: differences between epochs are
differences between models (common random numbers). Batch size, order of prompts and number of processes cannot matter.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def derive_key(*parts: int | str) -> int:
    """A 64-bit key of any words and numbers: ``key_of(seed, "train", 3)``."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "little")


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele et al. 2014): a bijection whose output passes as random."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def row_keys(stream: int, prompt_keys: NDArray[np.uint64], samples: int, first: int = 0) -> NDArray[np.uint64]:
    """Keys of the responses `first`, `first` + 1, ... of each prompt, shape (prompts, samples)."""
    prompts = _mix(prompt_keys.astype(np.uint64) ^ np.uint64(stream))
    return _mix(prompts[:, None] + np.arange(first + 1, first + samples + 1, dtype=np.uint64) * _GOLDEN)


def uniforms(rows: NDArray[np.uint64], positions: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), shape (*rows.shape, positions); a prefix of them does not depend on `positions`."""
    steps = np.arange(1, positions + 1, dtype=np.uint64) * _GOLDEN
    return np.asarray((_mix(rows[..., None] + steps) >> np.uint64(11)) * 2.0**-53, dtype=np.float64)
