"""Handing trained weights to a running vLLM, and the canary that tells whether it serves them.

``merged`` reloads every weight in place. Not only those that changed: vLLM keeps q, k and v as one matrix, and makes
noise of a part of it (adapters on q and v alone). ``adapter`` writes the low-rank matrices into a new folder under a
new id: under one that it knows, vLLM silently serves the adapter it had.

The canary is a fixed text, drawn by the initial model: after every hand-over vLLM's log-likelihoods of its tokens must
be those of transformers' forward pass with the training's weights.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call
from transformers import PreTrainedModel

from sivgap.core.rollout import NOT_FINITE, WriteAdapter
from sivgap.errors import RunError

if TYPE_CHECKING:
    from vllm import LLM
    from vllm.lora.request import LoRARequest

_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.15}
"""Mean difference of a token's log-likelihood, nats, that the rounding of two implementations may make."""
_ROUNDINGS = 4
"""The weights' own effect on the canary is telling from this many times the difference seen at the start."""
_LEAST_ROUNDING = 2e-6


class Reference:
    """The model as transformers runs it: initial weights, and whatever training has put in their place."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    def weights(self, changed: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """All weights by name, those of `changed` in place of the initial ones, in the model's precision."""
        for name, weight in self.model.named_parameters():
            yield name, changed.get(name, weight).detach().to(weight.dtype)

    @torch.inference_mode()
    def logprobs(self, text: tuple[int, ...], start: int, changed: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """Log-likelihoods of the tokens of `text` from `start` on."""
        ids = torch.tensor([text], device=self.model.device)
        weights = dict(self.weights(changed)) if changed else {}
        logits = functional_call(self.model, weights, (), {"input_ids": ids, "use_cache": False}).logits
        logp = logits[0, start - 1 : -1].float().log_softmax(-1).gather(1, ids[0, start:, None])
        return logp[:, 0].double().cpu().numpy()  # type: ignore[no-any-return]


@dataclass
class Canary:
    """A text whose likelihoods give stale weights away.

    Attributes:
        text, start: The tokens, and the first that counts.
        known: The reference's log-likelihoods under the weights handed over last.
        rounding: Mean difference between both implementations under the initial weights, nats.
    """

    text: tuple[int, ...]
    start: int
    known: NDArray[np.float64]
    rounding: float
    dtype: torch.dtype

    @classmethod
    def begin(
        cls,
        text: tuple[int, ...],
        start: int,
        served: NDArray[np.float64],
        known: NDArray[np.float64],
        dtype: torch.dtype,
    ) -> Canary:
        """The canary of the initial weights. Raises RunError where the implementations disagree from the start."""
        canary = cls(text, start, known, 0.0, dtype)
        canary.check(served, known, "at the start")
        canary.rounding = max(_mean(served - known), _LEAST_ROUNDING)
        return canary

    def check(self, served: NDArray[np.float64], expected: NDArray[np.float64], when: str) -> None:
        """Compare what vLLM serves with what training has, in log-likelihoods of the text.

        They must agree within the rounding of the precision; and where the weights' change shows, what is served must
        be nearer to the new weights than to those before.

        Raises:
            RunError: If they do not, or are not finite.
        """
        if not np.isfinite(expected).all():
            raise RunError(NOT_FINITE)
        off, still, moved = _mean(served - expected), _mean(served - self.known), _mean(expected - self.known)
        stale = self.rounding > 0 and moved > _ROUNDINGS * self.rounding and not off < still
        if stale or not off <= _TOLERANCE[self.dtype]:
            raise RunError(
                f"vLLM serves stale or wrong weights {when}: its log-likelihoods of a fixed text are {off:.2g} nats a "
                f"token from those of the weights in training ({still:.2g} from those of the weights before); expected "
                f"at most {_TOLERANCE[self.dtype]:g}. Go on with the other engine.handover, or with engine=hf"
            )
        self.known = expected


def _mean(difference: NDArray[np.float64]) -> float:
    return float(np.abs(difference).mean())


def reload_merged(llm: LLM, weights: Iterator[tuple[str, Tensor]]) -> None:
    """Copy all `weights`, by the names of transformers, into vLLM's model, and forget what was cached with others."""
    llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
    llm.apply_model(_repack_tied_head)
    llm.reset_prefix_cache()


def _repack_tied_head(model: Any) -> None:
    """On a processor vLLM packs a copy of the output matrix, and a reload of tied embeddings leaves it as it was."""
    head: Any = getattr(model, "lm_head", None)
    embedding: Any = getattr(getattr(model, "model", None), "embed_tokens", None)
    if head is None or embedding is None or head.weight is not embedding.weight:
        return
    if head.weight.device.type == "cpu":
        head.quant_method.process_weights_after_loading(head)


class AdapterFolder:
    """A folder and an id for each adapter, none used twice; the folder of the one before is removed."""

    def __init__(self) -> None:
        self._all = tempfile.TemporaryDirectory(prefix="sivgap-adapters-")
        self._root, self._count = Path(self._all.name), 0

    def write(self, write: WriteAdapter) -> LoRARequest:
        from vllm.lora.request import LoRARequest

        self._count += 1
        folder = self._root / str(self._count)
        write(folder)
        shutil.rmtree(folder.with_name(str(self._count - 1)), ignore_errors=True)
        return LoRARequest(f"adapter-{self._count}", self._count, str(folder))
