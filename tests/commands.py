"""Running a sivgap command as a user does."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
_seen: set[str] = set()


def run_command(
    folder: Path, name: str, *arguments: str, seconds: float = 240, **env: str
) -> subprocess.CompletedProcess[str]:
    """``python -m sivgap.NAME ARGUMENTS`` in `folder`, on this checkout.

    A new interpreter does it the first time, and whenever its environment is another; later ones are `forked`.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    if name in _seen and not env:
        return _forked(folder, name, arguments, environment, seconds)
    _seen.add(name)
    return subprocess.run(
        [sys.executable, "-m", f"sivgap.{name}", *arguments], cwd=folder, env=environment, capture_output=True,
        text=True, timeout=seconds, check=False,
    )  # fmt: skip


@cache
def _loaded() -> subprocess.Popen[str]:
    """The process with the libraries in it. It ends with its standard input, which is ours."""
    forked = Path(__file__).with_name("forked.py")
    return subprocess.Popen([sys.executable, forked], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _forked(
    folder: Path, name: str, arguments: tuple[str, ...], environment: dict[str, str], seconds: float
) -> subprocess.CompletedProcess[str]:
    loaded = _loaded()
    with tempfile.TemporaryDirectory() as words:
        out, err = Path(words, "out"), Path(words, "err")
        asked = {"name": name, "arguments": arguments, "folder": str(folder), "environment": environment}
        print(json.dumps({**asked, "out": str(out), "err": str(err)}), file=loaded.stdin, flush=True)
        process = int(loaded.stdout.readline())
        late = threading.Event()
        limit = threading.Timer(seconds, lambda: (late.set(), os.kill(process, signal.SIGKILL)))
        limit.start()
        status = int(loaded.stdout.readline())
        limit.cancel()
        if late.is_set():
            raise subprocess.TimeoutExpired(name, seconds)
        said = (path.read_text(errors="backslashreplace") if path.exists() else "" for path in (out, err))
        return subprocess.CompletedProcess([name, *arguments], status, *said)
