"""Engine ``hf``: sampling and verdicts with transformers' models, on any device.

Models of Llama's kind go through a lean pass (`models.decoder`), others through transformers' own. The prompt is
computed once and shared by its N responses, and so is what these have in common (`prefix_cache`); likelihoods at
temperature 1 come from the raw logits of the sampling pass itself; a verdict continues from the response's cache. The
engine has weights of its own: training hands merged weights over (`load`), so dropout and adapters reach no sample.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from sivgap.core.rollout import (
    NOT_FINITE,
    FollowUp,
    OnBatch,
    OnResponses,
    Prompt,
    Rollouts,
    Sampling,
    WriteAdapter,
    gather,
)
from sivgap.engines.budget import LOGITS, LOGITS_ELSEWHERE, keys_and_values, rows_under_way, token_bytes
from sivgap.engines.decoding import Decoding, DecodingSettings, Samples, begun
from sivgap.engines.listener import Listener
from sivgap.engines.model_pass import ModelPass
from sivgap.engines.prefill import Prefix, in_a_pass, in_order, prefill, rows_at_once
from sivgap.engines.prefix_cache import PrefixCache
from sivgap.engines.stop import StopText
from sivgap.errors import RunError
from sivgap.models.head import OutputHead, output_head, token_nll
from sivgap.models.packing import packed
from sivgap.models.shape import stated
from sivgap.runtime.hardware import return_much_freed_memory
from sivgap.runtime.rng import row_keys

KEPT = 2**15
"""Tokens, padding included, whose keys and values are kept while likelihoods of verdicts are read, if memory allows."""
READING = 0.9
"""Share of a verdict's time, about, that goes into what stands before the allowed answers."""
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
        batch_size: Responses sampled at once, where there is room for their keys and values (`budget`). It changes
            speed and memory, never a response.
        stop: Recognises texts that end a response besides the end tokens.
        text: Tokens of a real text, on which the lean pass proves itself.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        end_tokens: Sequence[int],
        pad_token: int,
        batch_size: int,
        stop: StopText | None = None,
        text: Sequence[int] = range(8),
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self._pass = ModelPass(model, text)
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
        self._pass.weights_changed()

    def rest(self) -> None:
        """Give back copies of the weights, and what was freed: training changes the former, and needs other memory."""
        self._pass.release()
        return_much_freed_memory()

    @torch.inference_mode()
    def rollout(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        follow_up: FollowUp | None = None,
        on_batch: OnBatch | None = None,
        on_responses: OnResponses | None = None,
    ) -> Rollouts:
        """Sample `sampling.samples` responses to each prompt, and answer `follow_up` behind each.

        Responses that ended are asked, and others take their places, as soon as leaving these idle costs more.

        Raises:
            RunError: If the model's likelihoods are not finite.
        """
        count, samples = len(prompts), sampling.samples
        keys = row_keys(sampling.stream, np.array([p.key for p in prompts], np.uint64), samples, sampling.first).ravel()
        waiting = np.array(in_order([p.tokens for p in prompts]), dtype=np.int64)
        longest = max((len(prompt.tokens) for prompt in prompts), default=0)
        room = self._rows(samples, sampling.max_new_tokens + _places(follow_up) + longest / samples)
        parts: list[tuple[NDArray[np.int64], Rollouts]] = []
        heard = Listener(on_batch, on_responses, len(keys), samples, sampling.max_new_tokens)
        decoding: Decoding | None = None
        while decoding is None or len(waiting):
            started = time.perf_counter()
            free = room - (0 if decoding is None else len(decoding))
            now, waiting = np.split(waiting, [free // samples])
            decoding = self._admit(decoding, prompts, now, keys, sampling, _places(follow_up), heard)
            idle, under_way = 0.0, partial(_ended, decoding)
            with heard.keeping(under_way):
                while len(decoding) and not (len(waiting) and idle >= TURN and decoding.ended >= samples):
                    heard.step(*decoding.step())
                    idle += decoding.ended / room
                    heard.report_if_due(under_way)
                ended = decoding.release()
                part = _rollouts(ended, time.perf_counter() - started)
                if follow_up is not None:
                    part = self._answer(part, follow_up, decoding.cache, ended, keys, heard)
            parts.append((ended.place.cpu().numpy(), part))
        return gather(parts).shaped(count, samples)

    @torch.inference_mode()
    def likelihood(
        self, prompts: Sequence[Prompt], responses: Sequence[Sequence[int]], on_batch: OnBatch | None = None
    ) -> NDArray[np.float64]:
        """U(y|x) in nats of given responses, tokens that end them included: (len(prompts),). The right of SV Eq. 3."""
        texts = [(*prompt.tokens, *response) for prompt, response in zip(prompts, responses, strict=True)]
        nll = np.zeros(len(texts))
        for places in _batches(np.argsort([len(text) for text in texts], kind="stable"), texts, self._in_a_pass):
            nll[places] = self._teacher_forced([texts[i] for i in places], [len(responses[i]) for i in places])
            if on_batch is not None:
                on_batch(len(places), 0)
        return nll

    @torch.inference_mode()
    def answer_likelihoods(
        self, prompts: Sequence[Prompt], answers: Sequence[Sequence[int]], on_batch: OnBatch | None = None
    ) -> NDArray[np.float64]:
        """log p(answer | prompt) of each of the same few answers behind each prompt, (len(prompts), len(answers))."""
        few, texts = tuple(tuple(answer) for answer in answers), [prompt.tokens for prompt in prompts]
        found = np.zeros((len(prompts), len(few)))
        heard = Listener(on_batch)
        kept = min(KEPT, int(keys_and_values(self._pass.device) // self._token_bytes))
        for places in _batches(np.array(in_order(texts), dtype=np.int64), texts, kept, self.batch_size):
            read = self._read([prompts[i] for i in places], lambda count: heard.judged(READING * count))
            cache = PrefixCache(read.states, read.mask, len(places), _tree_size(few), self._pass.windows)
            found[places] = self._likelihoods(read.logits, cache, few).cpu().numpy()
            heard.judged((1 - READING) * len(places))
        return found

    @property
    def _in_a_pass(self) -> int:
        return in_a_pass(self._pass.device)

    @cached_property
    def _token_bytes(self) -> int:
        return token_bytes(stated(self.model.config.get_text_config()), self.model.dtype.itemsize)

    def _rows(self, samples: int, tokens: float) -> int:
        """Responses under way at once, `samples` to a prompt, each with keys and values of `tokens` tokens at most."""
        budget = keys_and_values(self._pass.device)
        return rows_under_way(self.batch_size, samples, tokens, self._token_bytes, budget)

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
        heard: Listener,
    ) -> Decoding:
        """Let the samples of the prompts at `places` begin, beside those under way."""
        read = self._read([prompts[i] for i in places], lambda _: heard.check())
        numbers = (places[:, None] * sampling.samples + np.arange(sampling.samples)).ravel()
        row = torch.arange(len(places)).repeat_interleave(sampling.samples)
        device = read.logits.device
        samples = begun(torch.from_numpy(numbers).to(device), row.to(device), keys[numbers], sampling.max_new_tokens)
        if decoding is not None:
            decoding.admit(read.states, read.mask, read.logits, samples)
            return_much_freed_memory()
            return decoding
        cache = PrefixCache(read.states, read.mask, len(numbers), sampling.max_new_tokens + more, self._pass.windows)
        ways = DecodingSettings(sampling.temperature, self.end_tokens, sampling.top_p, self.stop)
        return Decoding(self._pass.feed, ways, cache, read.logits, samples)

    def _read(self, prompts: Sequence[Prompt], checked: Callable[[int], None]) -> Prefix:
        """The prompts, read up to their end; `checked` is told of each pass how many it read."""
        return prefill(self._pass, [prompt.tokens for prompt in prompts], self.pad_token, checked)

    def _answer(
        self,
        rollouts: Rollouts,
        follow_up: FollowUp,
        cache: PrefixCache,
        samples: Samples,
        keys: NDArray[np.uint64],
        heard: Listener,
    ) -> Rollouts:
        """Put the question behind every response, whose rows of the cache are all live, and read the answer."""
        started = time.perf_counter()
        logits = self._behind(torch.tensor(follow_up.tokens, device=samples.row.device), cache)
        generated, verdicts, logprobs = rollouts.generated, None, None
        if follow_up.answers:
            by_row = self._likelihoods(logits, cache, follow_up.answers)
            logprobs = by_row[samples.row].cpu().numpy()[:, None]
        else:
            noise = row_keys(follow_up.stream, keys[samples.place.cpu().numpy()], 1).ravel()
            asked = begun(samples.place, samples.row, noise, follow_up.max_new_tokens)
            said = Decoding(
                self._pass.feed,
                DecodingSettings(follow_up.temperature, self.end_tokens, follow_up.top_p),
                cache,
                logits,
                asked,
            )
            while len(said):
                heard.verdict(said.step()[0])
            verdicts = said.samples.texts(said.samples.length - said.samples.ending)
            generated += int(said.samples.length.sum())
        return replace(
            rollouts,
            verdicts=verdicts,
            answer_logprobs=logprobs,
            generated=generated,
            seconds_verify=time.perf_counter() - started,
        )

    def _behind(self, question: Tensor, cache: PrefixCache) -> Tensor:
        """Put `question` behind all live rows, some at a time; logits (live rows, V) of what follows it."""
        depth = torch.arange(len(question), device=question.device)
        places = cache.prefix_mask.shape[1] + int(cache.filled[cache.live].max()) + len(question)
        found = []
        for rows in _each(cache, rows_at_once(self._pass, len(question), places)):
            last = question.new_full((rows,), len(question) - 1)
            found.append(self._pass.feed(question.expand(rows, -1), cache, depth, at=last)[:, 0])
        cache.filled[cache.live] += len(question)
        return torch.cat(found)

    def _likelihoods(self, logits: Tensor, cache: PrefixCache, answers: tuple[tuple[int, ...], ...]) -> Tensor:
        """Log-likelihood (live rows, A) of each answer: all their shared beginnings in one pass, as a tree."""
        nodes = sorted({answer[:i] for answer in answers for i in range(1, len(answer))}, key=len)
        device, first = logits.device, cache.live.start
        tree = torch.tensor([[b == a[: len(b)] for b in nodes] for a in nodes], device=device)
        ends = torch.tensor([node[-1] for node in nodes], dtype=torch.long, device=device)
        depth = torch.tensor([len(node) - 1 for node in nodes], dtype=torch.long, device=device)
        most = LOGITS.get(device.type, LOGITS_ELSEWHERE) // (logits.shape[1] * (1 + len(nodes)))
        found = []
        for rows in _each(cache, max(1, most)):
            mine = logits[cache.live.start - first : cache.live.stop - first]
            after: dict[tuple[int, ...], Tensor] = {(): mine.float().log_softmax(-1)}
            if nodes:
                out = self._pass.feed(ends.expand(rows, -1), cache, depth, tree)
                after |= {node: out[:, i].float().log_softmax(-1) for i, node in enumerate(nodes)}
            sums = [sum(after[a[:i]][:, a[i]].double() for i in range(len(a))) for a in answers]
            found.append(torch.stack([torch.as_tensor(s) for s in sums], dim=1))
        return torch.cat(found)


def _each(cache: PrefixCache, most: int) -> Iterator[int]:
    """Let at most `most` of the live rows of `cache` be live at a time; how many they are, and in the end all again."""
    live = cache.live
    for start in range(live.start, live.stop, most):
        cache.live = slice(start, min(start + most, live.stop))
        yield cache.live.stop - start
    cache.live = live


def _batches(
    order: NDArray[np.int64], texts: Sequence[Sequence[int]], tokens: int, most: int | None = None
) -> Iterator[NDArray[np.int64]]:
    """Places of `texts` in this `order`, as many at a time as have at most `tokens` tokens, padding included."""
    start, longest = 0, 0
    for end, place in enumerate(order):
        longest = max(longest, len(texts[place]))
        if end > start and ((end - start + 1) * longest > tokens or end - start == most):
            yield order[start:end]
            start, longest = end, len(texts[place])
    if len(order):
        yield order[start:]


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


def _ended(decoding: Decoding, reported: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Rollouts] | None:
    """Responses that have ended and are still among those under way, without the `reported` ones."""
    samples = decoding.samples
    over = samples.ending > 0
    over |= samples.length == samples.tokens.shape[1]
    over &= ~torch.from_numpy(reported).to(over.device)[samples.place]
    if not bool(over.any()):
        return None
    ended = samples.of(over)
    return ended.place.cpu().numpy(), _rollouts(ended, 0.0)


def _places(follow_up: FollowUp | None) -> int:
    """Tokens that a follow-up adds to a response."""
    if follow_up is None:
        return 0
    return 1 + len(follow_up.tokens) + max(follow_up.max_new_tokens, _tree_size(follow_up.answers))


def _tree_size(answers: tuple[tuple[int, ...], ...]) -> int:
    return len({answer[:i] for answer in answers for i in range(1, len(answer))})
