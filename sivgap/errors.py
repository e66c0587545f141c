"""The ways a command can end, each with its exit status (0 is done)."""

from __future__ import annotations


class SivgapError(Exception):
    """Something a user can cause and mend. The message says what happened, what was expected, and what to do."""

    status = 1


class RunError(SivgapError):
    """The run failed."""


class ConfigError(SivgapError):
    """The configuration is wrong; nothing heavy was loaded."""

    status = 2


class Stopped(SivgapError):  # noqa: N818 - being stopped is no error
    """A signal asked the run to stop; a checkpoint exists, and the same command goes on from it."""

    status = 75
