"""A service that lies: a server on loopback that answers everything with the same bytes, fast, slowly or for ever."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Lie:
    """What the server says; `pause` seconds between single bytes, again and again if it is `endless`."""

    body: bytes
    status: int = 200
    kind: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    pause: float = 0.0
    endless: bool = False


@contextmanager
def liar(lie: Lie) -> Iterator[str]:
    """The address of a server that says nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def answer(handler) -> None:  # noqa: N805
            with suppress(OSError):
                handler.rfile.read(int(handler.headers.get("content-length") or 0))
                handler.send_response(lie.status)
                handler.send_header("content-type", lie.kind)
                for name, value in lie.headers:
                    handler.send_header(name, value)
                if not lie.endless:
                    handler.send_header("content-length", str(len(lie.body)))
                handler.end_headers()
                while True:
                    for at in range(len(lie.body)) if lie.pause else ():
                        handler.wfile.write(lie.body[at : at + 1])
                        handler.wfile.flush()
                        time.sleep(lie.pause)
                    if not lie.pause:
                        handler.wfile.write(lie.body)
                        time.sleep(0.001)
                    if not lie.endless:
                        break

        do_GET = do_POST = do_PUT = do_HEAD = answer  # noqa: N815

        def log_message(handler, *_) -> None:  # noqa: N805
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def reply(content: object, **usage: object) -> bytes:
    """An endpoint's answer with this text, and these counts of tokens."""
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "usage": usage}).encode()
