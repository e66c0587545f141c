"""Engine ``vllm``: sampling and verdicts with vLLM, in the process that trains, alive for the whole run.

Responses, verdicts and likelihoods mean what they mean with ``hf``: likelihoods are those at temperature 1 of the whole
distribution, and verdicts continue the response, whose keys and values vLLM still has. What differs:

* Each response has a seed of its own, hashed from (stream, prompt, sample) as the noise of ``hf`` is, so it does not
  depend on what is sampled beside it; but the generator is vLLM's, and the same seed gives other tokens than ``hf``.
* vLLM's kernels round by the batch, and do not promise the same sums in another one. A token whose likelihood lies
  that close to another's can differ between two runs, and what follows with it. ``VLLM_BATCH_INVARIANT=1`` helps on
  some GPUs, and is no proof.
* vLLM samples at temperatures from 0.01 on; at 0 it is greedy.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from sivgap.core.rollout import FollowUp, OnBatch, OnResponses, Prompt, Rollouts, Sampling, WriteAdapter
from sivgap.engines.listener import Listener
from sivgap.engines.stop import StopText
from sivgap.engines.vllm_ask import AnswerTree, drawn, scored, scores
from sivgap.engines.vllm_handover import AdapterFolder, Canary, Reference, reload_merged
from sivgap.engines.vllm_queue import Queue, Request
from sivgap.engines.vllm_rollout import Drawing

if TYPE_CHECKING:
    from vllm import LLM, RequestOutput
    from vllm.lora.request import LoRARequest

_CANARY_TOKENS = 24
_CANARY_PROMPT = 64
"""Tokens kept of the canary's prompt."""


class VLLMEngine:
    """Samples with a running vLLM.

    Args:
        llm: Started by `vllm_start.start_vllm`, with the weights of `model`.
        model: The same model as transformers runs it, on its device; it is read, never changed. The canary compares.
        end_tokens: Token ids that end a response.
        batch_size: Sequences that vLLM works on at once.
        canary_prompt: Tokens of any prompt, to draw the canary's text from.
        adapters: Whether `load` hands over adapters (with `write_adapter`) rather than merged weights.
        stop: Recognises texts that end a response besides the end tokens.

    Attributes:
        seconds_handover, seconds_canary: What the last `load` took.

    Raises:
        RunError: If vLLM and transformers do not agree about the initial weights.
    """

    def __init__(
        self,
        llm: LLM,
        model: PreTrainedModel,
        end_tokens: Sequence[int],
        batch_size: int,
        canary_prompt: Sequence[int],
        adapters: bool = False,
        stop: StopText | None = None,
    ) -> None:
        self._llm, self._end, self._room, self._stop = llm, list(end_tokens), batch_size, stop
        self._reference = Reference(model.eval())
        self._folder = AdapterFolder() if adapters else None
        self._adapter: LoRARequest | None = None
        self._asleep = 0
        self.seconds_handover = self.seconds_canary = 0.0
        self._canary = self._make_canary(list(canary_prompt)[-_CANARY_PROMPT:])

    def load(self, weights: Mapping[str, Tensor], write_adapter: WriteAdapter | None = None) -> None:
        """Serve `weights` (name to tensor, adapters already merged) from now on, and prove it by the canary.

        With adapters `write_adapter` writes the same change as an adapter; without it the initial weights are served.

        Raises:
            RunError: If vLLM then serves anything else.
        """
        started = time.perf_counter()
        if self._asleep:
            self._llm.wake_up(tags=["weights"])
        if self._folder is None:
            reload_merged(self._llm, self._reference.weights(weights))
        else:
            self._adapter = None if write_adapter is None else self._folder.write(write_adapter)
        if self._asleep:
            self._llm.wake_up(tags=["kv_cache"])
        self._asleep = 0
        handed = time.perf_counter()
        canary = self._canary
        served = self._served(canary.text, canary.start)
        canary.check(served, self._reference.logprobs(canary.text, canary.start, weights), "after a hand-over")
        self.seconds_handover, self.seconds_canary = handed - started, time.perf_counter() - handed

    def rest(self) -> None:
        """Give the GPU's memory back until the next `load`: the cache, and the weights as well.

        The weights go to the host's memory where that has room (level 1); where it has none they are dropped (level 2),
        for merged weights are all handed over anew. Adapters need the initial ones, and then nothing sleeps.
        """
        if self._asleep or not torch.cuda.is_available():
            return
        model = self._reference.model
        needed = sum(weight.numel() * weight.element_size() for weight in model.parameters())
        roomy = 2 * needed < os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if roomy or self._folder is None:
            self._asleep = 1 if roomy else 2
            self._llm.sleep(level=self._asleep)

    def rollout(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        follow_up: FollowUp | None = None,
        on_batch: OnBatch | None = None,
        on_responses: OnResponses | None = None,
    ) -> Rollouts:
        """Sample `sampling.samples` responses to each prompt, and answer `follow_up` behind each.

        Raises:
            RunError: If vLLM refuses a text, or the model's likelihoods are not finite.
        """
        drawing = Drawing(prompts, sampling, follow_up, self._end, self._stop)
        queue = self._queue(drawing.responses())
        heard = Listener(None, on_responses, len(prompts) * sampling.samples)
        with heard.keeping(drawing.ended):
            for done in queue.steps():
                ready, generated = drawing.ready, drawing.generated
                for asked, out in done:
                    for question in drawing.take(asked, out.outputs[0]):
                        queue.follow(question)
                if on_batch is not None:
                    on_batch(drawing.ready - ready, drawing.generated - generated)
                heard.report_if_due(drawing.ended)
        return drawing.result(queue.seconds_respond, queue.seconds_ask)

    def likelihood(
        self, prompts: Sequence[Prompt], responses: Sequence[Sequence[int]], on_batch: OnBatch | None = None
    ) -> NDArray[np.float64]:
        """U(y|x) in nats of given responses, tokens that end them included: (len(prompts),). The right of SV Eq. 3."""
        nll = np.zeros(len(prompts))
        texts = [[*prompt.tokens, *map(int, given)] for prompt, given in zip(prompts, responses, strict=True)]
        # vLLM's adapters for processors fail where several texts are scored at once.
        alone = self._folder is not None and self._reference.model.device.type == "cpu"
        asked = (scored(text, row) for row, text in enumerate(texts) if len(responses[row]))
        queue = self._queue(asked, 1 if alone else None)
        for done in queue.steps():
            for about, out in done:
                nll[about.row] = -scores(out, texts[about.row], len(prompts[about.row].tokens)).sum()
            if on_batch is not None:
                on_batch(len(done), 0)
        return nll

    def answer_likelihoods(
        self, prompts: Sequence[Prompt], answers: Sequence[Sequence[int]], on_batch: OnBatch | None = None
    ) -> NDArray[np.float64]:
        """log p(answer | prompt) of each of the same few answers behind each prompt, (len(prompts), len(answers))."""
        tree = AnswerTree(answers)
        found = np.zeros((len(prompts), len(answers)))
        asked = (question for row, prompt in enumerate(prompts) for question in tree.asked(prompt.tokens, row))
        for done in self._queue(asked).steps():
            for question, out in done:
                tree.add(found[question.row], question.part, out.outputs[0])
            if on_batch is not None:
                on_batch(sum(question.part == 0 for question, _ in done), 0)
        return found

    def _queue(self, asked: Iterator[Request], room: int | None = None) -> Queue:
        return Queue(self._llm.llm_engine, room or self._room, self._adapter, asked)

    def _one(self, asked: Request) -> RequestOutput:
        (out,) = [out for done in self._queue(iter([asked])).steps() for _, out in done]
        return out

    def _make_canary(self, prompt: list[int]) -> Canary:
        text = (*prompt, *self._one(drawn(prompt, _CANARY_TOKENS)).outputs[0].token_ids)
        start, model = len(prompt), self._reference.model
        return Canary.begin(
            text, start, self._served(text, start), self._reference.logprobs(text, start, {}), model.dtype
        )

    def _served(self, text: tuple[int, ...], start: int) -> NDArray[np.float64]:
        """vLLM's log-likelihoods of the tokens of `text` from `start` on."""
        return scores(self._one(scored(text)), text, start)
