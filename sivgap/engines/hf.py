"""Engine ``hf``: sampling and verdicts with transformers' own forward pass, on any device.

The prompt is computed once and shared by its N responses (`prefix_cache`); likelihoods at temperature 1 come from the
raw logits of the sampling pass itself; a verdict continues from the response's cache. The engine has weights of its
own: training hands merged weights over (`load`), so dropout and adapters never reach a sample.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from sivgap.engines.noise import key_of, row_keys, uniforms
from sivgap.engines.prefix_cache import PrefixCache, use_prefix_attention
from sivgap.engines.rollout import FollowUp, OnBatch, Prompt, Rollouts, Sampling, gather
from sivgap.engines.stop import StopText
from sivgap.errors import RunError


class HFEngine:
    """Samples with a transformers causal language model.

    Args:
        model: The model whose weights are used and, by `load`, replaced.
        end_tokens: Token ids that end a response.
        pad_token: Any valid token id; it fills places that are masked.
        batch_size: Responses sampled at once. It changes speed and memory, never a response.
        stop: Recognises texts that end a response besides the end tokens.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        end_tokens: Sequence[int],
        pad_token: int,
        batch_size: int,
        stop: StopText | None = None,
    ) -> None:
        use_prefix_attention(model)
        self.model = model.eval().requires_grad_(False)
        self.pad_token, self.batch_size, self.stop = pad_token, batch_size, stop
        self.end_tokens = torch.tensor(sorted(end_tokens), device=model.device)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Copy `weights` (name to tensor, adapters already merged) into the engine's model."""
        own = dict(self.model.named_parameters())
        for name, weight in weights.items():
            own[name].copy_(weight)

    @torch.inference_mode()
    def rollout(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        follow_up: FollowUp | None = None,
        on_batch: OnBatch | None = None,
    ) -> Rollouts:
        """Sample `sampling.samples` responses to each prompt, and answer `follow_up` behind each.

        Raises:
            RunError: If the model's likelihoods are not finite.
        """
        by_length = np.argsort([len(p.tokens) for p in prompts], kind="stable")
        step = max(1, self.batch_size // sampling.samples)
        parts = []
        for start in range(0, len(prompts), step):
            places = by_length[start : start + step]
            part = self._batch([prompts[i] for i in places], sampling, follow_up)
            parts.append((places, part))
            if on_batch is not None:
                on_batch(len(places), part.generated)
        return gather(parts)

    def _batch(self, prompts: list[Prompt], sampling: Sampling, follow_up: FollowUp | None) -> Rollouts:
        started = time.perf_counter()
        keys = row_keys(sampling.stream, np.array([p.key for p in prompts], dtype=np.uint64), sampling.samples)
        room = 0
        if follow_up is not None:
            room = 1 + len(follow_up.tokens) + max(follow_up.max_new_tokens, _tree_size(follow_up.answers))
        logits, decoding = self._prefill(prompts, sampling.samples, sampling.max_new_tokens + room)
        drawn = self._decode(logits, decoding, keys.ravel(), sampling.temperature, sampling.max_new_tokens, self.stop)
        shape = (len(prompts), sampling.samples)
        nll = drawn.nll.cpu().numpy().reshape(shape)
        if not np.isfinite(nll).all():
            raise RunError(
                "the model's likelihoods are not finite: its weights hold NaN or infinite values. "
                "Lower update.learning_rate, or check the checkpoint that was loaded"
            )
        length = drawn.length.cpu().numpy()
        rollouts = Rollouts(
            tokens=_rows(drawn.tokens, length),
            nll=nll,
            length=length.reshape(shape),
            ending=drawn.ending.cpu().numpy().reshape(shape),
            generated=int(length.sum()),
            seconds_generate=time.perf_counter() - started,
        )
        return rollouts if follow_up is None else self._answer(rollouts, follow_up, decoding, drawn, keys)

    def _prefill(self, prompts: list[Prompt], samples: int, capacity: int) -> tuple[Tensor, _Decoding]:
        """Run the left-padded prompts once; logits (P x N, V) of the first response token."""
        longest = max(len(p.tokens) for p in prompts)
        ids = torch.full((len(prompts), longest), self.pad_token)
        mask = torch.zeros((len(prompts), longest), dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt.tokens) :] = torch.tensor(prompt.tokens)
            mask[row, longest - len(prompt.tokens) :] = True
        ids, mask = ids.to(self.model.device), mask.to(self.model.device)
        cache = DynamicCache()
        out = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp_min(0),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        prefix = [(layer.keys, layer.values) for layer in cache.layers]
        decoding = _Decoding(
            cache=PrefixCache(prefix, mask, samples, capacity),
            position=mask.sum(1).repeat_interleave(samples),
        )
        return out.logits[:, -1].repeat_interleave(samples, dim=0), decoding

    def _forward(
        self, tokens: Tensor, valid: Tensor, decoding: _Decoding, depth: Tensor, tree: Tensor | None = None
    ) -> Tensor:
        """Feed `tokens` (rows, new) at ``position + depth``; logits (rows, new, V)."""
        decoding.cache.open_slots(valid, tree)
        logits: Tensor = self.model(
            input_ids=tokens,
            attention_mask=tokens.new_zeros((1, 1, 1, 1), dtype=torch.bool),  # unused: the cache masks
            position_ids=decoding.position[:, None] + depth,
            past_key_values=decoding.cache,
            prefix_cache=decoding.cache,
            use_cache=True,
        ).logits
        return logits

    def _decode(
        self,
        logits: Tensor,
        decoding: _Decoding,
        keys: NDArray[np.uint64],
        temperature: float,
        max_new_tokens: int,
        stop: StopText | None = None,
    ) -> _Drawn:
        """Sample until every row ends. On return the cache holds each row's text, without what ended it."""
        rows, device = len(keys), logits.device
        noise = torch.from_numpy(uniforms(keys, max_new_tokens)).to(device)
        tokens = torch.full((rows, max_new_tokens), self.pad_token, device=device)
        nll = torch.zeros(rows, dtype=torch.float64, device=device)
        length = torch.zeros(rows, dtype=torch.long, device=device)
        ending = torch.zeros(rows, dtype=torch.long, device=device)
        finished = torch.zeros(rows, dtype=torch.bool, device=device)
        first_slot = decoding.cache.used
        zero = torch.zeros(1, dtype=torch.long, device=device)
        for t in range(max_new_tokens):
            token, logp = draw(logits, noise[:, t], temperature)
            token = torch.where(finished, self.pad_token, token)
            tokens[:, t] = token
            nll -= torch.where(finished, 0.0, logp)
            length += ~finished
            ending += torch.isin(token, self.end_tokens) & ~finished
            if stop is not None:
                for row, count in stop.ended(tokens[:, : t + 1], ending == 0):
                    ending[row] = count
                    decoding.position[row] -= count - 1  # the last of them was never fed
                    decoding.cache.valid[row, first_slot + t + 1 - count :] = False
            finished = ending > 0
            if bool(finished.all()):
                break
            logits = self._forward(token[:, None], ~finished[:, None], decoding, zero)[:, 0]
            decoding.position = decoding.position + ~finished
        return _Drawn(tokens, nll, length, ending)

    def _answer(
        self,
        rollouts: Rollouts,
        follow_up: FollowUp,
        decoding: _Decoding,
        drawn: _Drawn,
        keys: NDArray[np.uint64],
    ) -> Rollouts:
        """Put the question behind every response and read the answer."""
        started = time.perf_counter()
        rows, device = len(drawn.length), drawn.length.device
        question = torch.tensor(follow_up.tokens, device=device)
        everyone = torch.ones((rows, len(question)), dtype=torch.bool, device=device)
        depth = torch.arange(len(question), device=device)
        logits = self._forward(question.expand(rows, -1), everyone, decoding, depth)[:, -1]
        decoding.position = decoding.position + len(question)
        generated, verdicts, logprobs = rollouts.generated, None, None
        if follow_up.answers:
            logprobs = self._likelihoods(logits, decoding, follow_up.answers)
            logprobs = logprobs.reshape(*rollouts.nll.shape, len(follow_up.answers))
        else:
            noise = row_keys(key_of("verdict"), keys.ravel(), 1).ravel()
            said = self._decode(logits, decoding, noise, follow_up.temperature, follow_up.max_new_tokens)
            lengths = said.length.cpu().numpy()
            verdicts = _rows(said.tokens, lengths - said.ending.cpu().numpy())
            generated += int(lengths.sum())
        return Rollouts(
            rollouts.tokens,
            rollouts.nll,
            rollouts.length,
            rollouts.ending,
            verdicts=verdicts,
            answer_logprobs=logprobs,
            generated=generated,
            seconds_generate=rollouts.seconds_generate,
            seconds_verify=time.perf_counter() - started,
        )

    def _likelihoods(
        self, logits: Tensor, decoding: _Decoding, answers: tuple[tuple[int, ...], ...]
    ) -> NDArray[np.float64]:
        """Log-likelihood (rows, A) of each answer: all their shared beginnings in one pass, as a tree."""
        nodes = sorted({answer[:i] for answer in answers for i in range(1, len(answer))}, key=len)
        after: dict[tuple[int, ...], Tensor] = {(): logits.float().log_softmax(-1)}
        if nodes:
            device, rows = logits.device, len(logits)
            tree = torch.tensor([[b == a[: len(b)] for b in nodes] for a in nodes], device=device)
            fed = torch.tensor([node[-1] for node in nodes], device=device).expand(rows, -1)
            depth = torch.tensor([len(node) - 1 for node in nodes], device=device)
            out = self._forward(fed, torch.ones_like(fed, dtype=torch.bool), decoding, depth, tree)
            after |= {node: out[:, i].float().log_softmax(-1) for i, node in enumerate(nodes)}
        sums = [sum(after[a[:i]][:, a[i]].double() for i in range(len(a))) for a in answers]
        return torch.stack([torch.as_tensor(s) for s in sums], dim=1).cpu().numpy()


@dataclass
class _Decoding:
    """The state of a batch: its cache, and the position id of each row's next token."""

    cache: PrefixCache
    position: Tensor


@dataclass(frozen=True)
class _Drawn:
    """Sampled tokens (rows, steps), their summed -log p, lengths, and how many tokens at the end only end a row."""

    tokens: Tensor
    nll: Tensor
    length: Tensor
    ending: Tensor


def draw(logits: Tensor, uniform: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """One token a row by inverting the cumulative distribution at `uniform`, and its log-likelihood at temperature 1.

    Args:
        logits: Raw logits, (rows, V).
        uniform: Numbers in [0, 1), float64 (rows,).
        temperature: Of the sampling alone; 0 takes the likeliest token.
    """
    logits = logits.float()
    logp = logits.log_softmax(-1)
    if temperature == 0:
        token = logits.argmax(-1)
    else:
        tempered = logp if temperature == 1 else (logits / temperature).log_softmax(-1)
        cumulative = tempered.exp().cumsum(-1, dtype=torch.float64)
        target = uniform[:, None] * cumulative[:, -1:]
        token = torch.searchsorted(cumulative, target, right=True)[:, 0].clamp_max(logits.shape[-1] - 1)
    return token, logp.gather(1, token[:, None])[:, 0].double()


def _rows(tokens: Tensor, lengths: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    array = tokens.cpu().numpy()
    return [array[i, :n].copy() for i, n in enumerate(lengths)]


def _tree_size(answers: tuple[tuple[int, ...], ...]) -> int:
    return len({answer[:i] for answer in answers for i in range(1, len(answer))})
