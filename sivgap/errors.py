"""The ways a command can end, each with its exit status (0 is done)."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path


class SivgapError(Exception):
    """Something a user can cause and mend. The message says what happened, what was expected, and what to do."""

    status = 1


class RunError(SivgapError):
    """The run failed."""


class RankDied(RunError):  # noqa: N818 - named as RunBusy is
    """Something ended one of the run's processes; the others were ended with it."""


class ConfigError(SivgapError):
    """The configuration is wrong; nothing heavy was loaded."""

    status = 2


class Stopped(SivgapError):  # noqa: N818 - being stopped is no error
    """A signal asked the run to stop; a checkpoint exists, and the same command goes on from it."""

    status = 75


_STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE)
"""What a disk answers that is full, over its quota, read-only, somebody else's or broken."""


def unexpected(error: Exception, log: Path) -> SivgapError:
    """What is told of an error that nobody saw coming: the machine's, or one that is nobody's but ours."""
    found = next((each for each in _chain(error) if _storage(each) is not None), None)
    if found is not None:
        what = f"{found.filename}: " if isinstance(found, OSError) and found.filename else ""
        why = os.strerror(_storage(found) or 0)
        return RunError(
            f"{what}cannot be read or written ({why}); nothing that was kept before is lost: see to the disk, and run "
            "the same command to go on"
        )
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return RunError(
            "out of memory; lower engine.batch_size or update.micro_batch_size, and run the same command to go on"
        )
    return SivgapError(f"unexpected {type(error).__name__}: {str(error)[:200]}; please report it with {log}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those it was raised upon: closing what a full disk cut short, a library may trip over itself."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _storage(error: BaseException) -> int | None:
    """The number of a storage error; safetensors has it in its words alone."""
    said = re.search(r"\(os error (\d+)\)", str(error))
    number = error.errno if isinstance(error, OSError) else int(said[1]) if said else None
    return number if number in _STORAGE else None
