"""Prompts as tokens: what the solver is shown, and what the verifier's question adds behind a response.

A verifier's template is a *follow-up* or stands *alone*. A follow-up asks in the same conversation, as its next turn:
its tokens are the same for every response, and the engine can go on from the response's cache. One with ``{response}``
in it (or ``{response_a}`` and ``{response_b}``) stands alone: a conversation of its own, with question and response.
What a model thought before its answer, up to ``</think>``, is part of its conversation; on its own, a response is shown
without.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from sivgap.core.problem import Problem
from sivgap.core.rollout import Prompt
from sivgap.errors import RunError
from sivgap.grading.reasoning import without_reasoning
from sivgap.models.template import render
from sivgap.runtime.rng import derive_key

Tokens = Sequence[int] | NDArray[np.int64]

_RESPONSE = "[[sivgap response]]"

_REMEMBERED = 4096
"""Prompts kept as tokens."""

_FIELD = re.compile(r"\{(question|response|response_a|response_b)\}")


class PromptWriter:
    """Writes prompts for one model.

    Args:
        tokenizer: The model's tokenizer.
        chat_template: Whether to use its chat template; plain text otherwise.
        template: The solver's prompt; ``{question}`` is replaced (nothing else is).
        examples: Few-shot examples, each with a solution.
        system_prompt: A system message before every conversation, where the chat template is used.
        variables: What the chat template is told besides.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: bool,
        template: str,
        examples: Sequence[Problem] = (),
        system_prompt: str | None = None,
        variables: Mapping[str, object] | None = None,
    ) -> None:
        if "{question}" not in template:
            raise RunError("dataset.prompt: the file has no {question} in it")
        self._tokenizer, self._chat = tokenizer, chat_template
        self._template = template.strip() if chat_template else template
        self._examples = list(examples)
        self._system = [] if system_prompt is None else [{"role": "system", "content": system_prompt}]
        self._variables = dict(variables or {})
        # A verifier asks about many responses to the same problem, in the same words.
        self._solve = lru_cache(maxsize=_REMEMBERED)(self._write_solve)
        self._follow_up = lru_cache(maxsize=8)(self._write_follow_up)

    def solve(self, problem: Problem) -> Prompt:
        """The prompt that asks for a solution, keyed by the problem's id.

        Raises:
            RunError: If the tokenizer cannot write the question.
        """
        return self._solve(problem)

    def _write_solve(self, problem: Problem) -> Prompt:
        if self._chat:
            ids = self._encode_chat(self._conversation(problem.question))
        else:
            ids = self._tokenizer(self._plain(problem.question))["input_ids"]
        if not self._known(ids):
            raise RunError(
                f"problem {problem.id!r}: the model's tokenizer has no tokens for {problem.question[:80]!r}; "
                "use a model for this dataset, or a dataset for this model"
            )
        return Prompt(tuple(ids), derive_key(problem.id))

    def follow_up(self, question: str) -> tuple[int, ...]:
        """Tokens that put `question` behind any response: in a chat, the end of its turn and a new one."""
        return self._follow_up(question)

    def _write_follow_up(self, question: str) -> tuple[int, ...]:
        if not self._chat:
            return tuple(self._tokenizer(question, add_special_tokens=False)["input_ids"])
        messages = [
            *self._conversation("[[question]]"),
            {"role": "assistant", "content": _RESPONSE},
            {"role": "user", "content": question.strip()},
        ]
        text = self._render(messages)
        _, found, after = text.partition(_RESPONSE)
        if not found:
            raise RunError("the model's chat template drops earlier answers; set model.chat_template=false")
        return tuple(self._tokenizer(after, add_special_tokens=False)["input_ids"])

    def judgement(
        self,
        problem: Problem,
        template: str,
        texts: Sequence[str],
        bodies: Sequence[NDArray[np.int64]] | None = None,
    ) -> tuple[int, ...]:
        """The prompt that asks a verifier's question about one response to `problem`, or about two.

        Args:
            problem: What was asked.
            template: The verifier's; a follow-up goes behind the solver's prompt and the response.
            texts: One response, or two.
            bodies: The same as tokens of this very model; without them the texts are tokenised.

        What the tokenizer has no tokens for in a response stands there as its unknown token: models write anything.

        Raises:
            RunError: If the tokenizer cannot write the problem.
        """
        if is_follow_up(template):
            body = self._tokenizer(texts[0], add_special_tokens=False)["input_ids"] if bodies is None else bodies[0]
            body = map(int, body)
            return (*self.solve(problem).tokens, *body, *self.follow_up(template))
        names = ("response",) if len(texts) == 1 else ("response_a", "response_b")
        answers = [without_reasoning(text).strip() or text for text in texts]  # of thoughts cut off, what there is
        ids = self._encode_alone(
            fill(template, {"question": problem.question, **dict(zip(names, answers, strict=True))})
        )
        if not self._known(ids):
            empty = fill(template, {"question": problem.question, **dict.fromkeys(names, "")})
            self._check_known(self._encode_alone(empty), problem.id, "what its verifier is shown", empty)
        return tuple(ids)

    def _encode_alone(self, asked: str) -> list[int]:
        """A conversation, or a text, of its own."""
        if self._chat:
            return self._encode_chat([{"role": "user", "content": asked.strip()}])
        return list(self._tokenizer(asked)["input_ids"])

    def lead(self, template: str, answers: Iterable[str]) -> str:
        """A space before a verdict, where plain text asks for it without one: words' tokens begin with it, and a model
        that has read it by itself hardly goes on with a word."""
        spaced = any(text[:1].isspace() for text in (template[-1:], *answers))
        return "" if self._chat or spaced else " "

    def encode_answer(self, answer: str) -> tuple[int, ...]:
        """An allowed verdict, as tokens that can follow the verifier's question.

        Raises:
            RunError: If the tokenizer cannot write it.
        """
        ids = self._tokenizer(answer, add_special_tokens=False)["input_ids"]
        if not self._known(ids):
            raise RunError(
                f"the model's tokenizer has no tokens for the verdict {answer[:80]!r}; choose another verifier"
            )
        return tuple(ids)

    def response(self, text: str, problem_id: str) -> tuple[int, ...]:
        """A response that someone else wrote, as tokens behind the prompt, without an end.

        Raises:
            RunError: If the tokenizer cannot write it.
        """
        return self._written(text, problem_id, "its external response")

    def decode(self, responses: Sequence[Tokens]) -> list[str]:
        """Texts of responses, special tokens left out."""
        return list(self._tokenizer.batch_decode([list(r) for r in responses], skip_special_tokens=True))

    def as_sent(self, tokens: Tokens) -> str:
        """Text of tokens with the special ones in it, as a model reads them."""
        return str(self._tokenizer.decode(list(map(int, tokens)), skip_special_tokens=False))

    def plain_tokens(self, text: str) -> tuple[int, ...]:
        """A whole text, with the tokens that start a sequence."""
        return tuple(self._tokenizer(text)["input_ids"])

    def _written(self, text: str, problem_id: str, what: str) -> tuple[int, ...]:
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        self._check_known(ids, problem_id, what, text)
        return tuple(ids)

    def _known(self, ids: Sequence[int]) -> bool:
        unknown = self._tokenizer.unk_token_id
        if unknown in (self._tokenizer.bos_token_id, self._tokenizer.eos_token_id):  # Granite, OLMo 2, OPT: every
            return True  # text can be written, and this token begins it
        return unknown is None or unknown not in ids

    def _check_known(self, ids: Sequence[int], problem_id: str, what: str, text: str) -> None:
        if not self._known(ids):
            raise RunError(f"problem {problem_id!r}: the model's tokenizer has no tokens for {what} {text[:80]!r}")

    def _plain(self, question: str) -> str:
        shots = [self._template.replace("{question}", e.question) + f" {e.solution}\n\n" for e in self._examples]
        return "".join(shots) + self._template.replace("{question}", question)

    def _conversation(self, question: str) -> list[dict[str, str]]:
        return conversation(self._template, self._examples, question)

    def _render(self, messages: list[dict[str, str]]) -> str:
        return render(self._tokenizer, [*self._system, *messages], self._variables)

    def _encode_chat(self, messages: list[dict[str, str]]) -> list[int]:
        text = self._render(messages)
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])


def conversation(template: str, examples: Sequence[Problem], question: str) -> list[dict[str, str]]:
    """Few-shot `examples`, each with its solution, and `question`, as the messages of a chat."""
    messages = []
    for example in examples:
        messages += [
            {"role": "user", "content": template.replace("{question}", example.question)},
            {"role": "assistant", "content": example.solution or example.reference},
        ]
    return [*messages, {"role": "user", "content": template.replace("{question}", question)}]


def is_follow_up(template: str) -> bool:
    """Whether a verifier's template goes on the solver's conversation, rather than showing the response itself."""
    return not {"response", "response_a", "response_b"} & set(_FIELD.findall(template))


def fill(template: str, fields: Mapping[str, str]) -> str:
    """`template` with its ``{fields}`` replaced, all at once: what stands in a response is never a field."""
    return _FIELD.sub(lambda match: fields.get(match[1], match[0]), template)
