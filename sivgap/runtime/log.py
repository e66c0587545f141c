"""``sivgap.log``: what happened to a run, tracebacks and the warnings of libraries included."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sivgap.runtime.sanitize import sanitize

_LIBRARIES = ("transformers", "peft", "accelerate", "torch", "datasets", "huggingface_hub")
"""Some of them bring a handler for the terminal along."""


class _LogFile(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """A log that cannot be written ends no run, and is no traceback on the terminal."""


class _Plain(logging.Formatter):
    """Nothing in the log moves a cursor: what an error quotes may come from a stranger."""

    def format(self, record: logging.LogRecord) -> str:
        return sanitize(super().format(record))


@contextmanager
def logged(path: Path | None) -> Iterator[None]:
    """Within, this process's log and its libraries' warnings go to `path`; to nobody without one (another rank says the
    same).
    """
    handler: logging.Handler = logging.NullHandler()
    if path is not None:
        handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
        handler.setFormatter(_Plain("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    own, everybody = logging.getLogger("sivgap"), logging.getLogger()
    own.setLevel(logging.INFO)
    own.propagate = False
    own.addHandler(handler)
    everybody.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        everybody.removeHandler(handler)
        own.removeHandler(handler)
        handler.close()


def silence_libraries() -> None:
    """From now on what libraries say goes to the log alone, not between the lines that a user reads.

    Called once they are imported: what they do to their loggers they do then.
    """
    for name in _LIBRARIES:
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            if type(handler) is logging.StreamHandler:
                logger.removeHandler(handler)
        logger.propagate = True
