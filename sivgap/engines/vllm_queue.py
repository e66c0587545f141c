"""What vLLM is asked, fed to it so that it always has a full batch and never a long queue."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sivgap.errors import RunError

if TYPE_CHECKING:
    from vllm import RequestOutput, SamplingParams
    from vllm.lora.request import LoRARequest


@dataclass(frozen=True)
class Request:
    """One request: `tokens` to go on from, as `params` say; `row` and `part` name what it is for."""

    tokens: Sequence[int]
    params: SamplingParams
    row: int
    part: int = 0


RESPONSE = -1
"""The `part` of a request for a response; all others ask about one."""


class Queue:
    """Requests in flight. Those that follow from an answer go first: what they continue is still in vLLM's cache.

    Attributes:
        seconds_respond, seconds_ask: Time spent on responses, and on everything else; steps that work on both are
            shared by their requests in flight.
    """

    def __init__(self, engine: Any, room: int, adapter: LoRARequest | None, asked: Iterable[Request] = ()) -> None:
        self._engine, self._room, self._adapter = engine, room, adapter
        self._later, self._first = iter(asked), deque[Request]()
        self._flying: dict[str, Request] = {}
        self._count = 0
        self.seconds_respond = self.seconds_ask = 0.0

    def follow(self, asked: Request) -> None:
        """Ask this before all that is waiting."""
        self._first.append(asked)

    def steps(self) -> Iterator[list[tuple[Request, RequestOutput]]]:
        """What is complete after each step of vLLM, until nothing is left. Leaving early forgets what is in flight."""
        try:
            now = time.perf_counter()
            while self._fill():
                done = [(self._flying.pop(out.request_id), out) for out in self._engine.step() if out.finished]
                flying = [*self._flying.values(), *(asked for asked, _ in done)]
                share = sum(asked.part == RESPONSE for asked in flying) / len(flying)
                yield done
                before, now = now, time.perf_counter()
                self.seconds_respond += share * (now - before)
                self.seconds_ask += (1 - share) * (now - before)
        finally:
            if self._flying:
                self._engine.abort_request(list(self._flying))

    def _fill(self) -> bool:
        """Put requests in flight while there is room; whether any is."""
        while len(self._flying) < self._room:
            asked = self._first.popleft() if self._first else next(self._later, None)
            if asked is None:
                break
            self._count += 1
            name = str(self._count)
            try:
                self._engine.add_request(
                    name, {"prompt_token_ids": list(asked.tokens)}, asked.params, lora_request=self._adapter
                )
            except ValueError as error:
                raise RunError(
                    f"vLLM refuses a text of {len(asked.tokens)} tokens ({' '.join(str(error).split())[:200]}); "
                    "give it more engine.memory, or leave long problems out"
                ) from error
            self._flying[name] = asked
        return bool(self._flying)
