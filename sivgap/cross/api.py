"""Source ``api``: any OpenAI-compatible endpoint, through the `openai` library.

Every response is kept in a cache on disk as it comes, shared by all runs: what was paid for once is never asked again.
Before each attempt its largest possible cost is set aside, and an attempt whose fate is unknown (a time-out, a cut
connection) counts in full, so ``cross.api.max_cost`` is never exceeded. The key is read from the environment and goes
nowhere else.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sivgap.config.cross import ApiConfig
from sivgap.config.locate import read_prompt
from sivgap.config.schema import TrainConfig
from sivgap.core.problem import Problem
from sivgap.cross.api_cache import Answer, ApiCache, key_of_request
from sivgap.cross.external import Response
from sivgap.errors import ConfigError, RunError
from sivgap.models.prompts import conversation
from sivgap.runtime.display import Advance, Display
from sivgap.tasks.load import Dataset

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0
"""Seconds before the second attempt, doubled each time, and at most."""

_MESSAGE_TOKENS = 16
"""Tokens that a chat format may put around a message, beyond its text."""

_HOPELESS = (400, 401, 403, 404, 405, 413, 422)
"""Answers that another attempt will not change."""

Request = dict[str, Any]


def responses(
    config: TrainConfig, dataset: Dataset, problems: Sequence[Problem], display: Display
) -> dict[str, Response]:
    """One response to each problem, from the cache or the endpoint.

    Raises:
        ConfigError: Without the `openai` library, or without a key.
        RunError: If the endpoint refuses, keeps failing, or the budget is used up; answers so far are in the cache.
    """
    api = config.cross.api
    template = read_prompt(config.dataset.prompt)
    requests = {
        problem.id: Request(
            model=api.model,
            messages=conversation(template, dataset.examples, problem.question),
            temperature=config.cross.temperature,
            max_completion_tokens=config.sampling.max_new_tokens,
        )
        for problem in problems
    }
    with ApiCache(api.cache, display.say) as cache:
        keys = {name: key_of_request(api.base_url, request) for name, request in requests.items()}
        missing = [name for name, key in keys.items() if cache.get(key) is None]
        if missing:
            client = _client(api)
            job = _Collection(api, client, cache)
            with display.phase("external responses", len(missing)) as advance:
                asyncio.run(job.run([(name, keys[name], requests[name]) for name in missing], advance))
            display.say(
                f"external responses: {len(missing)} from {api.model}, {len(keys) - len(missing)} from the cache; "
                f"{job.ledger.input_tokens:,} + {job.ledger.output_tokens:,} tokens, "
                f"${job.ledger.spent:.4f} of at most ${api.max_cost:g}"
            )
        answers = {name: cache.get(key) for name, key in keys.items()}
    return {name: Response(answer.text, answer.finished) for name, answer in answers.items() if answer is not None}


def _client(api: ApiConfig) -> AsyncOpenAI:
    try:
        from openai import AsyncOpenAI

        from sivgap.cross.short_replies import client
    except ImportError as error:
        raise ConfigError("cross.source=api needs the openai library: pip install 'sivgap[api]'") from error
    key = os.environ.get(api.key_env)
    if not key:
        raise ConfigError(f"cross.source=api: expected the key in the environment variable {api.key_env}")
    return AsyncOpenAI(api_key=key, base_url=api.base_url, timeout=api.timeout, max_retries=0, http_client=client())


@dataclass
class Ledger:
    """Money and tokens spent; `under_way` are the largest possible costs of attempts not settled yet. US dollars."""

    limit: float
    input_price: float
    output_price: float
    spent: float = 0.0
    under_way: list[float] = field(default_factory=list)
    input_tokens: int = 0
    output_tokens: int = 0

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        return (input_tokens * self.input_price + output_tokens * self.output_price) / 1e6

    def most(self, request: Request) -> float:
        """The most that one attempt can cost."""
        return self.cost(_most_sent(request), request["max_completion_tokens"])

    def fits(self, most: float) -> bool:
        return self.spent + sum(self.under_way) + most <= self.limit


@dataclass
class _Collection:
    """Requests under way at once, one budget, one cache."""

    api: ApiConfig
    client: AsyncOpenAI
    cache: ApiCache
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.api.max_cost, self.api.input_price or 0.0, self.api.output_price or 0.0)
        self._settled = asyncio.Condition()

    async def run(self, requests: Sequence[tuple[str, str, Request]], advance: Advance) -> None:
        waiting = iter(requests)

        async def work() -> None:
            for name, key, request in waiting:
                answer = await self._ask(name, request)
                self.cache.put(key, answer)
                advance(1, answer.output_tokens)

        async with self.client:
            workers = [asyncio.create_task(work()) for _ in range(min(self.api.concurrency, len(requests)))]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _ask(self, name: str, request: Request) -> Answer:
        """Attempts with growing pauses until one succeeds."""
        reason = ""
        for attempt in range(self.api.retries + 1):
            if attempt:
                await asyncio.sleep(self._pause(attempt, reason))
            found = await self._attempt(name, request)
            if isinstance(found, Answer):
                return found
            reason = found
        raise RunError(
            f"cross.source=api: no answer to problem {name!r} after {self.api.retries + 1} attempts ({reason}); "
            "answers so far are in the cache, run the same command to go on"
        )

    async def _attempt(self, name: str, request: Request) -> Answer | str:
        """One attempt: the answer, or why there is none."""
        import openai

        most = self.ledger.most(request)
        await self._reserve(most)
        billed = most  # until the endpoint has said otherwise
        try:
            async with asyncio.timeout(self.api.timeout):  # the client's own one begins anew with every byte
                reply = await self.client.chat.completions.create(**request)
            answer = _read(reply, request)
            billed = self.ledger.cost(answer.input_tokens, answer.output_tokens)
            self.ledger.input_tokens += answer.input_tokens
            self.ledger.output_tokens += answer.output_tokens
            return answer
        except openai.APIStatusError as error:
            billed = 0.0
            if error.status_code in _HOPELESS:
                raise RunError(
                    f"cross.source=api: the endpoint refused problem {name!r} with status {error.status_code}: "
                    f"{self._safe(error)}"
                ) from None
            after = error.response.headers.get("retry-after", "")
            return f"status {error.status_code}" + (f", retry after {after}" if after else "")
        except TimeoutError:
            return f"no whole answer within {self.api.timeout:g} s"
        except (openai.OpenAIError, ValueError, AttributeError, TypeError, IndexError, ArithmeticError) as error:
            return self._safe(error)
        finally:
            async with self._settled:
                self.ledger.under_way.remove(most)
                self.ledger.spent += billed
                self._settled.notify_all()

    async def _reserve(self, most: float) -> None:
        """Set `most` aside, once what is under way leaves room for it."""
        async with self._settled:
            await self._settled.wait_for(lambda: self.ledger.fits(most) or not self.ledger.under_way)
            if not self.ledger.fits(most):
                raise RunError(
                    f"cross.api.max_cost: ${self.ledger.spent:.4f} of ${self.api.max_cost:g} are spent, and one more "
                    f"request may cost ${most:.4f}; answers so far are in the cache, raise it to go on"
                )
            self.ledger.under_way.append(most)

    def _pause(self, attempt: int, reason: str) -> float:
        """Seconds: what the endpoint asked for, or doubling from attempt to attempt; never all at once again."""
        _, _, after = reason.partition("retry after ")
        number = after.isascii() and after.replace(".", "", 1).isdigit()
        asked = float(after) if number else _FIRST_WAIT * 2 ** (attempt - 1)
        return min(asked, _LONGEST_WAIT) * random.uniform(1.0, 1.25)  # noqa: S311 - spreads attempts, decides nothing

    def _safe(self, error: Exception) -> str:
        """What went wrong, on one line, without the key."""
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return text.replace(os.environ.get(self.api.key_env) or "\0", "[key]")[:160]


def _most_sent(request: Request) -> int:
    """The most tokens that a request can have: no tokenizer makes more of a text than it has bytes."""
    return sum(len(m["content"].encode()) + _MESSAGE_TOKENS for m in request["messages"])


def _read(reply: Any, request: Request) -> Answer:
    """The answer in a reply; ValueError where it is none. Tokens that it does not state count as the most possible."""
    choice = reply.choices[0]
    text = choice.message.content
    if not isinstance(text, str) or not text.strip():
        raise ValueError("the reply holds no text")
    text.encode()  # half a character is a ValueError, too
    usage = getattr(reply, "usage", None)
    return Answer(
        text.strip(),
        choice.finish_reason != "length",
        _tokens(getattr(usage, "prompt_tokens", None), _most_sent(request)),
        _tokens(getattr(usage, "completion_tokens", None), request["max_completion_tokens"]),
    )


def _tokens(said: Any, most: int) -> int:
    """Tokens as stated, or the most possible: an answer that cost less than nothing would make room for others."""
    return said if isinstance(said, int) and not isinstance(said, bool) and said > 0 else most
