"""A client of HTTP for endpoints that may answer without end: no reply is longer than any answer can be."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
from openai import DefaultAsyncHttpxClient

LONGEST = 2**24
"""Bytes; a thousand times what an answer has."""


def client() -> httpx.AsyncClient:
    """Replies longer than `LONGEST` end in a ValueError while they are read, and so do compressed ones: a little that
    is compressed can stand for any amount."""
    plain = {"Accept-Encoding": "identity"}
    found: httpx.AsyncClient = DefaultAsyncHttpxClient(event_hooks={"response": [_measured]}, headers=plain)
    return found


async def _measured(response: httpx.Response) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ValueError("the reply is compressed, and was asked not to be")
    assert isinstance(response.stream, httpx.AsyncByteStream)
    response.stream = _Measured(response.stream)


class _Measured(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream, self._left = stream, LONGEST

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            self._left -= len(piece)
            if self._left < 0:
                raise ValueError(f"the reply is longer than {LONGEST // 2**20} MiB")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()
