"""Rollouts as bytes for other ranks, by numpy's own format and without pickle."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sivgap.core.rollout import Rollouts

Arrays = Mapping[str, "NDArray[np.generic]"]


def pack(arrays: Arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def unpack(data: bytes) -> dict[str, NDArray[np.generic]]:
    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        return dict(found)


def arrays_of(rollouts: Rollouts) -> dict[str, NDArray[np.generic]]:
    """`rollouts` as named arrays; what is None has none."""
    arrays: dict[str, NDArray[np.generic]] = {
        "tokens": np.concatenate(rollouts.tokens),
        "nll": rollouts.nll,
        "length": rollouts.length,
        "ending": rollouts.ending,
        "generated": np.array(rollouts.generated),
        "seconds": np.array([rollouts.seconds_generate, rollouts.seconds_verify]),
    }
    if rollouts.verdicts is not None:
        arrays["verdicts"] = np.concatenate(rollouts.verdicts)
        arrays["verdict_lengths"] = np.array([len(verdict) for verdict in rollouts.verdicts])
    if rollouts.answer_logprobs is not None:
        arrays["answer_logprobs"] = rollouts.answer_logprobs
    return arrays


def rollouts_of(arrays: Mapping[str, NDArray[np.generic]]) -> Rollouts:
    """What `arrays_of` was given."""
    generate, verify = map(float, arrays["seconds"])
    verdicts = None
    if "verdicts" in arrays:
        verdicts = _split(arrays["verdicts"], arrays["verdict_lengths"])
    return Rollouts(
        tokens=_split(arrays["tokens"], arrays["length"]),
        nll=arrays["nll"],  # type: ignore[arg-type]
        length=arrays["length"],  # type: ignore[arg-type]
        ending=arrays["ending"],  # type: ignore[arg-type]
        verdicts=verdicts,
        answer_logprobs=arrays.get("answer_logprobs"),  # type: ignore[arg-type]
        generated=int(arrays["generated"]),
        seconds_generate=generate,
        seconds_verify=verify,
    )


def _split(flat: NDArray[np.generic], lengths: NDArray[np.generic]) -> list[NDArray[np.int64]]:
    return np.split(flat.astype(np.int64), np.cumsum(lengths.ravel())[:-1])  # type: ignore[arg-type]
