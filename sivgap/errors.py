"""The ways a command can end, each with its exit status (0 is done)."""

from __future__ import annotations

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


def unexpected(error: Exception, log: Path) -> SivgapError:
    """What is told of an error that is nobody's but ours."""
    return SivgapError(f"unexpected {type(error).__name__}: {str(error)[:200]}; please report it with {log}")
