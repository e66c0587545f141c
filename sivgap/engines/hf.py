"""Engine ``hf``: sampling and verdicts with transformers' own forward pass, on any device.

The prompt is computed once and shared by its N responses, and so is what these have in common (`prefix_cache`);
likelihoods at temperature 1 come from the raw logits of the sampling pass itself; a verdict continues from the
response's cache. The engine has weights of its own: training hands merged weights over (`load`), so dropout and
adapters never reach a sample.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from sivgap.engines.noise import key_of, row_keys, uniforms
from sivgap.engines.nucleus import nucleus
from sivgap.engines.prefix_cache import PrefixCache, use_prefix_attention
from sivgap.engines.rollout import NOT_FINITE, FollowUp, OnBatch, Prompt, Rollouts, Sampling, WriteAdapter, gather
from sivgap.engines.stop import StopText
from sivgap.errors import RunError
from sivgap.models.head import OutputHead, output_head, padded, token_nll

_MOST_AT_ONCE = 2**14
"""Tokens that are read at once when given responses are scored."""


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

    @cached_property
    def _head(self) -> OutputHead:
        return output_head(self.model)

    def load(self, weights: Mapping[str, Tensor], write_adapter: WriteAdapter | None = None) -> None:
        """Copy `weights` (name to tensor, adapters already merged) into the engine's model."""
        own = dict(self.model.named_parameters())
        for name, weight in weights.items():
            own[name].copy_(weight)

    def rest(self) -> None:
        """Nothing to give back: between batches the weights are all there is."""

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

    @torch.inference_mode()
    def likelihood(
        self, prompts: Sequence[Prompt], responses: Sequence[Sequence[int]], on_batch: OnBatch | None = None
    ) -> NDArray[np.float64]:
        """U(y|x) in nats of given responses, tokens that end them included: (len(prompts),). The right of SV Eq. 3."""
        texts = [(*prompt.tokens, *response) for prompt, response in zip(prompts, responses, strict=True)]
        nll = np.zeros(len(texts))
        by_length = np.argsort([len(text) for text in texts], kind="stable")
        room = max(1, _MOST_AT_ONCE // max(map(len, texts), default=1))
        for start in range(0, len(texts), room):
            places = by_length[start : start + room]
            nll[places] = self._teacher_forced([texts[i] for i in places], [len(responses[i]) for i in places])
            if on_batch is not None:
                on_batch(len(places), 0)
        return nll

    @torch.inference_mode()
    def answer_likelihoods(
        self, prompts: Sequence[Prompt], answers: Sequence[Sequence[int]], on_batch: OnBatch | None = None
    ) -> NDArray[np.float64]:
        """log p(answer | prompt) of each of the same few answers behind each prompt, (len(prompts), len(answers))."""
        few = tuple(tuple(answer) for answer in answers)
        found = np.zeros((len(prompts), len(few)))
        by_length = np.argsort([len(prompt.tokens) for prompt in prompts], kind="stable")
        for start in range(0, len(prompts), self.batch_size):
            places = by_length[start : start + self.batch_size]
            logits, cache = self._prefill([prompts[i] for i in places], len(places), _tree_size(few))
            found[places] = self._likelihoods(logits, cache, few).cpu().numpy()
            if on_batch is not None:
                on_batch(len(places), 0)
        return found

    def _teacher_forced(self, texts: list[tuple[int, ...]], counted: list[int]) -> NDArray[np.float64]:
        """Minus the log-likelihood of the last `counted` tokens of each text."""
        batch = padded(texts, counted, self.pad_token, self.model.device)
        each = token_nll(self.model, self._head, *batch).double()
        return np.array([float(tokens.sum()) for tokens in torch.split(each, counted)])

    def _batch(self, prompts: list[Prompt], sampling: Sampling, follow_up: FollowUp | None) -> Rollouts:
        started = time.perf_counter()
        prompt_keys = np.array([p.key for p in prompts], dtype=np.uint64)
        keys = row_keys(sampling.stream, prompt_keys, sampling.samples, sampling.first)
        room = 0
        if follow_up is not None:
            room = 1 + len(follow_up.tokens) + max(follow_up.max_new_tokens, _tree_size(follow_up.answers))
        logits, cache = self._prefill(prompts, keys.size, sampling.max_new_tokens + room)
        row = torch.arange(len(prompts), device=logits.device).repeat_interleave(sampling.samples)
        drawn = self._decode(
            logits, cache, row, keys.ravel(), sampling.temperature, sampling.max_new_tokens, self.stop, sampling.top_p
        )
        nll = drawn.nll.cpu().numpy().reshape(keys.shape)
        if not np.isfinite(nll).all():
            raise RunError(NOT_FINITE)
        length = drawn.length.cpu().numpy()
        rollouts = Rollouts(
            tokens=_rows(drawn.tokens, length),
            nll=nll,
            length=length.reshape(keys.shape),
            ending=drawn.ending.cpu().numpy().reshape(keys.shape),
            generated=int(length.sum()),
            seconds_generate=time.perf_counter() - started,
        )
        return rollouts if follow_up is None else self._answer(rollouts, follow_up, cache, drawn.row, keys)

    def _prefill(self, prompts: list[Prompt], rows: int, capacity: int) -> tuple[Tensor, PrefixCache]:
        """Run the left-padded prompts once; logits (P, V) of the first response token."""
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
        return out.logits[:, -1], PrefixCache(prefix, mask, rows, capacity)

    def _forward(self, tokens: Tensor, cache: PrefixCache, depth: Tensor, tree: Tensor | None = None) -> Tensor:
        """Feed `tokens` (live rows, new) at the rows' position + `depth` (new,); logits (live rows, new, V)."""
        cache.open_slots(tokens.shape[1], tree)
        logits: Tensor = self.model(
            input_ids=tokens,
            attention_mask=tokens.new_zeros((1, 1, 1, 1), dtype=torch.bool),  # unused: the cache masks
            position_ids=cache.position[cache.live, None] + depth,
            past_key_values=cache,
            prefix_cache=cache,
            use_cache=True,
        ).logits
        return logits

    def _decode(
        self,
        logits: Tensor,
        cache: PrefixCache,
        row: Tensor,
        keys: NDArray[np.uint64],
        temperature: float,
        max_new_tokens: int,
        stop: StopText | None = None,
        top_p: float = 1.0,
    ) -> _Drawn:
        """Sample until every sample ends. Samples start at the rows `row`, (samples,), whose logits are given; those
        that draw the same tokens are computed once. On return the cache holds their texts, without what ended them."""
        samples, device = len(keys), logits.device
        noise = torch.from_numpy(uniforms(keys, max_new_tokens)).to(device)
        tokens = torch.full((samples, max_new_tokens), self.pad_token, device=device)
        nll = torch.zeros(samples, dtype=torch.float64, device=device)
        length = torch.zeros(samples, dtype=torch.long, device=device)
        ending = torch.zeros(samples, dtype=torch.long, device=device)
        row, first_slot = row.clone(), cache.used
        zero = torch.zeros(1, dtype=torch.long, device=device)
        going = torch.arange(samples, device=device)
        for t in range(max_new_tokens):
            token, logp = draw(logits, row[going] - cache.live.start, noise[going, t], temperature, top_p)
            tokens[going, t] = token
            nll[going] -= logp
            length[going] += 1
            ending[going] = torch.isin(token, self.end_tokens).long()
            stopped = dict(stop.ended(tokens[:, : t + 1], ending == 0)) if stop is not None else {}
            for sample, count in stopped.items():
                ending[sample] = count
            row[going], feed = cache.branch(row[going], token, ending[going] > 0)
            for ended, count in {int(row[sample]): count for sample, count in stopped.items()}.items():
                cache.position[ended] -= count - 1  # the last of them was never fed
                cache.valid[ended, first_slot + t + 1 - count :] = False
            going = going[ending[going] == 0]
            if not len(going):
                break
            logits = self._forward(feed[:, None], cache, zero)[:, 0]
            cache.position[cache.live] += 1
        return _Drawn(tokens, nll, length, ending, row)

    def _answer(
        self,
        rollouts: Rollouts,
        follow_up: FollowUp,
        cache: PrefixCache,
        row: Tensor,
        keys: NDArray[np.uint64],
    ) -> Rollouts:
        """Put the question behind every response, at `row` of the cache, and read the answer."""
        started = time.perf_counter()
        cache.revive()
        question = torch.tensor(follow_up.tokens, device=row.device)
        depth = torch.arange(len(question), device=row.device)
        logits = self._forward(question.expand(cache.live.stop, -1), cache, depth)[:, -1]
        cache.position[cache.live] += len(question)
        generated, verdicts, logprobs = rollouts.generated, None, None
        if follow_up.answers:
            by_row = self._likelihoods(logits, cache, follow_up.answers)
            logprobs = by_row[row].cpu().numpy().reshape(*rollouts.nll.shape, len(follow_up.answers))
        else:
            noise = row_keys(key_of("verdict"), keys.ravel(), 1).ravel()
            said = self._decode(logits, cache, row, noise, follow_up.temperature, follow_up.max_new_tokens)
            lengths = said.length.cpu().numpy()
            verdicts = _rows(said.tokens, lengths - said.ending.cpu().numpy())
            generated += int(lengths.sum())
        return replace(
            rollouts,
            verdicts=verdicts,
            answer_logprobs=logprobs,
            generated=generated,
            seconds_verify=time.perf_counter() - started,
        )

    def _likelihoods(self, logits: Tensor, cache: PrefixCache, answers: tuple[tuple[int, ...], ...]) -> Tensor:
        """Log-likelihood (live rows, A) of each answer: all their shared beginnings in one pass, as a tree."""
        nodes = sorted({answer[:i] for answer in answers for i in range(1, len(answer))}, key=len)
        after: dict[tuple[int, ...], Tensor] = {(): logits.float().log_softmax(-1)}
        if nodes:
            device = logits.device
            tree = torch.tensor([[b == a[: len(b)] for b in nodes] for a in nodes], device=device)
            fed = torch.tensor([node[-1] for node in nodes], device=device).expand(len(logits), -1)
            depth = torch.tensor([len(node) - 1 for node in nodes], device=device)
            out = self._forward(fed, cache, depth, tree)
            after |= {node: out[:, i].float().log_softmax(-1) for i, node in enumerate(nodes)}
        sums = [sum(after[a[:i]][:, a[i]].double() for i in range(len(a))) for a in answers]
        return torch.stack([torch.as_tensor(s) for s in sums], dim=1)


@dataclass(frozen=True)
class _Drawn:
    """Sampled tokens (samples, steps), their summed -log p, lengths, how many tokens at the end only end a sample,
    and the row of the cache that holds each sample's text."""

    tokens: Tensor
    nll: Tensor
    length: Tensor
    ending: Tensor
    row: Tensor


def draw(logits: Tensor, row: Tensor, uniform: Tensor, temperature: float, top_p: float = 1.0) -> tuple[Tensor, Tensor]:
    """One token a sample, by inverting the cumulative distribution at `uniform`, and its log-likelihood at temperature
    1 among all tokens.

    Args:
        logits: Raw logits, (rows, V).
        row: The row whose distribution each sample draws from, (samples,).
        uniform: Numbers in [0, 1), float64 (samples,).
        temperature: Of the sampling alone; 0 takes the likeliest token.
        top_p: Of the sampling alone, too: below 1, tokens outside the `nucleus` that holds it are never drawn.
    """
    logits = logits.float()
    logp = logits.log_softmax(-1)
    if temperature == 0:
        token = logits.argmax(-1)[row]
    else:
        tempered = logp if temperature == 1 else (logits / temperature).log_softmax(-1)
        probability = tempered.exp() if top_p == 1 else nucleus(tempered.exp(), top_p)
        cumulative = probability.cumsum(-1, dtype=torch.float64)[row]
        target = uniform[:, None] * cumulative[:, -1:]
        token = torch.searchsorted(cumulative, target, right=True)[:, 0].clamp_max(logits.shape[-1] - 1)
    return token, logp[row, token].double()


def _rows(tokens: Tensor, lengths: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    array = tokens.cpu().numpy()
    return [array[i, :n].copy() for i, n in enumerate(lengths)]


def _tree_size(answers: tuple[tuple[int, ...], ...]) -> int:
    return len({answer[:i] for answer in answers for i in range(1, len(answer))})
