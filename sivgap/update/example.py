"""What is trained on: a response behind its prompt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """Tokens of a prompt and of the response to learn, end of sequence included; loss falls on the response alone."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]
    problem_id: str
