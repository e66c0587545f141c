"""What is trained on: a response behind its prompt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """Tokens of a prompt and of the response to learn, end of sequence included; loss falls on the response alone.

    For ``update=rpo`` also the response that it is preferred to, `rejected`, and `margin`: by how many nats the
    reference policy, the model that drew the pair, finds the response likelier than the rejected one.
    """

    prompt: tuple[int, ...]
    response: tuple[int, ...]
    problem_id: str
    rejected: tuple[int, ...] = ()
    margin: float = 0.0

    @property
    def tokens(self) -> int:
        """Tokens that a step on it computes."""
        against = len(self.prompt) + len(self.rejected) if self.rejected else 0
        return len(self.prompt) + len(self.response) + against
