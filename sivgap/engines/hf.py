"""Engine ``hf``: sampling and verdicts with transformers' models, on any device.

Models of Llama's kind go through a lean pass (`models.decoder`), others through transformers' own. The prompt is
computed once and shared by its N responses, and so is what these have in common (`prefix_cache`); likelihoods at
temperature 1 come from the raw logits of the sampling pass itself; a verdict continues from the response's cache. The
engine has weights of its own: training hands merged weights over (`load`), so dropout and adapters reach no sample.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from sivgap.engines.decoding import Decoding, Samples, Ways, begun
from sivgap.engines.noise import key_of, row_keys
from sivgap.engines.prefix_cache import PrefixCache, use_prefix_attention
from sivgap.engines.rollout import NOT_FINITE, FollowUp, OnBatch, Prompt, Rollouts, Sampling, WriteAdapter, gather
from sivgap.engines.stop import StopText
from sivgap.errors import RunError
from sivgap.models.decoder import Decoder, Kept, decoder_of
from sivgap.models.head import OutputHead, output_head, token_nll
from sivgap.models.packing import packed

_MOST_AT_ONCE = 2**14
"""Tokens that are read at once when given responses are scored."""
TURN = 4
"""Passes of the model that it costs to give places to other responses: their prompts, the questions to those that
leave, the allowed answers, and rows that are no longer of one length. A step wastes as much of a pass as places are
idle in it."""


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
        self.model = model.eval().requires_grad_(False)
        self._lean, self._stale = decoder_of(model), True
        use_prefix_attention(model)
        self.pad_token, self.batch_size, self.stop = pad_token, batch_size, stop
        self.end_tokens = torch.tensor(sorted(end_tokens), device=model.device)

    @property
    def _decoder(self) -> Decoder | None:
        if self._lean is not None and self._stale:
            self._lean.take_weights()
        self._stale = False
        return self._lean

    @cached_property
    def _head(self) -> OutputHead:
        return output_head(self.model)

    def load(self, weights: Mapping[str, Tensor], write_adapter: WriteAdapter | None = None) -> None:
        """Copy `weights` (name to tensor, adapters already merged) into the engine's model."""
        own = dict(self.model.named_parameters())
        for name, weight in weights.items():
            own[name].copy_(weight)
        self._stale = True

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

        Responses that ended are asked, and others take their places, as soon as leaving these idle costs more.

        Raises:
            RunError: If the model's likelihoods are not finite.
        """
        count, samples = len(prompts), sampling.samples
        keys = row_keys(sampling.stream, np.array([p.key for p in prompts], np.uint64), samples, sampling.first).ravel()
        waiting = np.argsort([len(p.tokens) for p in prompts], kind="stable")
        room = max(1, self.batch_size // samples) * samples
        open_ones = np.full(count, samples)
        parts: list[tuple[NDArray[np.int64], Rollouts]] = []
        decoding: Decoding | None = None
        while decoding is None or len(waiting):
            started = time.perf_counter()
            free = room - (0 if decoding is None else len(decoding))
            now, waiting = np.split(waiting, [free // samples])
            decoding = self._admit(decoding, prompts, now, keys, sampling, _places(follow_up))
            idle = 0.0
            while len(decoding) and not (len(waiting) and idle >= TURN and decoding.ended >= samples):
                decoding.step()
                idle += decoding.ended / room
            ended = decoding.release()
            part = _rollouts(ended, time.perf_counter() - started)
            if follow_up is not None:
                part = self._answer(part, follow_up, decoding.cache, ended, keys)
            parts.append((ended.place.cpu().numpy(), part))
            if on_batch is not None:
                before = np.count_nonzero(open_ones)
                np.subtract.at(open_ones, parts[-1][0] // samples, 1)
                on_batch(int(before - np.count_nonzero(open_ones)), part.generated)
        return gather(parts).shaped(count, samples)

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
            logits, prefix, mask = self._prefill([prompts[i] for i in places])
            cache = PrefixCache(prefix, mask, len(places), _tree_size(few))
            found[places] = self._likelihoods(logits, cache, few).cpu().numpy()
            if on_batch is not None:
                on_batch(len(places), 0)
        return found

    def _teacher_forced(self, texts: list[tuple[int, ...]], counted: list[int]) -> NDArray[np.float64]:
        """Minus the log-likelihood of the last `counted` tokens of each text."""
        each = token_nll(self.model, self._head, packed(texts, counted, self.model.device)).double()
        return np.array([float(tokens.sum()) for tokens in torch.split(each, counted)])

    def _admit(
        self,
        decoding: Decoding | None,
        prompts: Sequence[Prompt],
        places: NDArray[np.int64],
        keys: NDArray[np.uint64],
        sampling: Sampling,
        more: int,
    ) -> Decoding:
        """Let the samples of the prompts at `places` begin, beside those under way."""
        logits, prefix, mask = self._prefill([prompts[i] for i in places])
        numbers = (places[:, None] * sampling.samples + np.arange(sampling.samples)).ravel()
        row = torch.arange(len(places)).repeat_interleave(sampling.samples)
        samples = begun(
            torch.from_numpy(numbers).to(logits.device), row.to(logits.device), keys[numbers], sampling.max_new_tokens
        )
        if decoding is not None:
            decoding.admit(prefix, mask, logits, samples)
            return decoding
        cache = PrefixCache(prefix, mask, len(numbers), sampling.max_new_tokens + more)
        ways = Ways(sampling.temperature, self.end_tokens, sampling.top_p, self.stop)
        return Decoding(self._forward, ways, cache, logits, samples)

    def _prefill(self, prompts: list[Prompt]) -> tuple[Tensor, list[tuple[Tensor, Tensor]], Tensor]:
        """Run the left-padded prompts once; logits (P, V) of the first response token, and what a cache is made of."""
        longest = max(len(p.tokens) for p in prompts)
        ids = torch.full((len(prompts), longest), self.pad_token)
        mask = torch.zeros((len(prompts), longest), dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt.tokens) :] = torch.tensor(prompt.tokens)
            mask[row, longest - len(prompt.tokens) :] = True
        ids, mask = ids.to(self.model.device), mask.to(self.model.device)
        position = (mask.cumsum(1) - 1).clamp_min(0)
        if self._decoder is not None:
            kept = Kept(mask)
            return self._decoder(ids, position, kept.attention, last=True)[:, 0], kept.states, mask
        cache = DynamicCache()
        out = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return out.logits[:, -1], [(layer.keys, layer.values) for layer in cache.layers], mask

    def _forward(
        self, tokens: Tensor, cache: PrefixCache, depth: Tensor, tree: Tensor | None = None, last: bool = False
    ) -> Tensor:
        """Feed `tokens` (live rows, new) at the rows' position + `depth` (new,); logits (live rows, new, V), with
        `last` only of what follows them, (live rows, 1, V)."""
        cache.open_slots(tokens.shape[1], tree)
        position = cache.position[:, None] + depth
        if self._decoder is not None:
            return self._decoder(tokens, position, cache.attention, last)
        logits: Tensor = self.model(
            input_ids=tokens,
            attention_mask=tokens.new_zeros((1, 1, 1, 1), dtype=torch.bool),  # unused: the cache masks
            position_ids=position,
            past_key_values=cache,
            prefix_cache=cache,
            use_cache=True,
            logits_to_keep=int(last),
        ).logits
        return logits

    def _answer(
        self, rollouts: Rollouts, follow_up: FollowUp, cache: PrefixCache, samples: Samples, keys: NDArray[np.uint64]
    ) -> Rollouts:
        """Put the question behind every response, whose rows of the cache are all live, and read the answer."""
        started = time.perf_counter()
        question = torch.tensor(follow_up.tokens, device=samples.row.device)
        depth = torch.arange(len(question), device=question.device)
        logits = self._forward(question.expand(cache.live.stop, -1), cache, depth, last=True)[:, 0]
        cache.filled[cache.live] += len(question)
        generated, verdicts, logprobs = rollouts.generated, None, None
        if follow_up.answers:
            by_row = self._likelihoods(logits, cache, follow_up.answers)
            logprobs = by_row[samples.row].cpu().numpy()[:, None]
        else:
            noise = row_keys(key_of("verdict"), keys[samples.place.cpu().numpy()], 1).ravel()
            asked = begun(samples.place, samples.row, noise, follow_up.max_new_tokens)
            said = Decoding(self._forward, Ways(follow_up.temperature, self.end_tokens), cache, logits, asked)
            while len(said):
                said.step()
            verdicts = said.samples.texts(said.samples.length - said.samples.ending)
            generated += int(said.samples.length.sum())
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


def _rollouts(samples: Samples, seconds: float) -> Rollouts:
    """Samples that have ended, one a prompt."""
    nll = samples.nll.cpu().numpy()[:, None]
    if not np.isfinite(nll).all():
        raise RunError(NOT_FINITE)
    length = samples.length.cpu().numpy()[:, None]
    return Rollouts(
        tokens=samples.texts(samples.length),
        nll=nll,
        length=length,
        ending=samples.ending.cpu().numpy()[:, None],
        generated=int(length.sum()),
        seconds_generate=seconds,
    )


def _places(follow_up: FollowUp | None) -> int:
    """Tokens that a follow-up adds to a response."""
    if follow_up is None:
        return 0
    return 1 + len(follow_up.tokens) + max(follow_up.max_new_tokens, _tree_size(follow_up.answers))


def _tree_size(answers: tuple[tuple[int, ...], ...]) -> int:
    return len({answer[:i] for answer in answers for i in range(1, len(answer))})
