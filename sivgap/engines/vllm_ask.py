"""What vLLM is asked: to sample a text, to score a given one, and to weigh the few answers to a question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sivgap.engines.vllm_queue import Request

if TYPE_CHECKING:
    from vllm import CompletionOutput, RequestOutput, SamplingParams


def sampled(
    temperature: float,
    max_new_tokens: int,
    seed: int,
    end_tokens: list[int],
    top_p: float = 1.0,
    stops: list[str] | None = None,
) -> SamplingParams:
    """One text until one of `end_tokens` or of the texts `stops`; its likelihood is `cumulative_logprob`."""
    from vllm import SamplingParams

    return SamplingParams(
        temperature=temperature,
        top_p=top_p,
        max_tokens=max_new_tokens,
        seed=seed % 2**63,
        logprobs=0,
        flat_logprobs=True,
        stop_token_ids=end_tokens,
        ignore_eos=True,  # those that end a response are all above
        stop=stops,
        detokenize=stops is not None,
        skip_special_tokens=False,
    )


def drawn(prompt: list[int], tokens: int) -> Request:
    """Any text of so many tokens: always the same of the same weights."""
    from vllm import SamplingParams

    params = SamplingParams(temperature=1.0, max_tokens=tokens, seed=0, ignore_eos=True, detokenize=False)
    return Request(prompt, params, 0)


def scored(text: Sequence[int], row: int = 0) -> Request:
    """The likelihoods of all tokens of `text`. Its last token is generated, lest a full context be one too long."""
    from vllm import SamplingParams

    params = SamplingParams(
        temperature=0.0, max_tokens=1, logprobs=0, prompt_logprobs=0, allowed_token_ids=[text[-1]], detokenize=False
    )
    return Request(text[:-1], params, row)


def scores(out: RequestOutput, text: Sequence[int], start: int) -> NDArray[np.float64]:
    """Log-likelihoods of the tokens of `text` from `start` on, from the answer to `scored`."""
    inside = [out.prompt_logprobs[i][text[i]].logprob for i in range(start, len(text) - 1)]
    return np.array([*inside, out.outputs[0].logprobs[0][text[-1]].logprob], dtype=np.float64)


class AnswerTree:
    """The allowed answers as a tree: where they part, one generated token's log-likelihoods say how likely each is.

    Attributes:
        answers: Token sequences, none a prefix of another.
        nodes: The beginnings they share, the empty one first.
    """

    def __init__(self, answers: Sequence[Sequence[int]]) -> None:
        self.answers = [tuple(answer) for answer in answers]
        self.nodes = sorted({answer[:i] for answer in self.answers for i in range(len(answer))}, key=len)
        self._behind = [
            {answer[len(node)]: None for answer in self.answers if answer[: len(node)] == node} for node in self.nodes
        ]

    def asked(self, context: Sequence[int], row: int) -> Iterator[Request]:
        """The questions about `context`, one a node; ``part`` is the node's number."""
        from vllm import SamplingParams

        for part, (node, behind) in enumerate(zip(self.nodes, self._behind, strict=True)):
            params = SamplingParams(
                temperature=0.0,
                max_tokens=1,
                logprobs=len(behind),
                logprob_token_ids=list(behind),
                detokenize=False,
            )
            yield Request([*context, *node], params, row, part)

    def add(self, logprobs: NDArray[np.float64], part: int, said: CompletionOutput) -> None:
        """Count what was `said` to question number `part` towards the answers that pass its node: `logprobs`, (A,)."""
        node, here = self.nodes[part], said.logprobs[0]
        for place, answer in enumerate(self.answers):
            if answer[: len(node)] == node:
                logprobs[place] += here[answer[len(node)]].logprob
