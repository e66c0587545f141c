"""The open axes of a configuration: a name stands for what sivgap ships, or, as ``module:Name``, for a user's own code.

``my_package.module:Name`` is looked for where Python looks for modules, the folder first in which the command was
typed. It is imported by what runs it alone; settings, reports and fits read the name and nothing more.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sivgap.errors import ConfigError, RunError, SivgapError

OWN = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)")
_LONGEST = 200
"""Characters of a user's module and name, and of what its exception says."""


def is_own(name: str) -> bool:
    """Whether a name is of the form ``module:Name``."""
    return len(name) <= _LONGEST and OWN.fullmatch(name) is not None


def file_stem(name: str) -> str:
    """A name as part of a file's or directory's name: ``my_package.module:Name`` is called ``Name``."""
    return name.rpartition(":")[2]


@dataclass(frozen=True)
class Axis:
    """One axis: ``verifier``, ``dataset``, ``update``.

    Attributes:
        key: Its name in a configuration.
        shipped: The names that sivgap has, in the order in which a user reads them.
        package: Where those live that are classes by themselves: ``majority`` is ``PACKAGE.majority:Majority``.
    """

    key: str
    shipped: Sequence[str]
    package: str

    def check(self, name: str) -> str:
        """The same name.

        Raises:
            ValueError: If nothing can be called so.
        """
        if name in self.shipped or is_own(name):
            return name
        near = get_close_matches(name, self.shipped, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"expected one of {', '.join(self.shipped)}, or module:Name of your own{hint}")

    def find(self, name: str) -> Any:
        """What a checked name stands for, imported.

        Raises:
            ConfigError: If a module cannot be imported, or has no such name.
        """
        if not is_own(name):
            return getattr(importlib.import_module(f"{self.package}.{name}"), _class_name(name))
        module_name, _, attribute = name.partition(":")
        with _imported_from_here():
            try:
                module = importlib.import_module(module_name)
            except ImportError as error:
                raise ConfigError(
                    f"{self.key}={name}: cannot import {module_name!r} ({_first_line(error)}); expected a module that "
                    "Python finds, such as a file in the folder where the command is typed"
                ) from error
            except Exception as error:
                raise ConfigError(f"{self.key}={name}: {module_name!r} cannot be imported: {said(error)}") from error
        if not hasattr(module, attribute):
            public = sorted(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
            has = ", ".join(public[:12]) or "nothing"
            raise ConfigError(f"{self.key}={name}: {module.__file__} has no {attribute!r}; it has {has}")
        return getattr(module, attribute)


def digest_of(name: str) -> str | None:
    """Of the file that a ``module:Name`` is in, so that changed code is another run; None where it cannot be found."""
    with _imported_from_here():
        try:
            found = importlib.util.find_spec(name.partition(":")[0])
        except (ImportError, ValueError):
            return None
    if found is None or found.origin is None or not Path(found.origin).is_file():
        return None
    return hashlib.sha256(Path(found.origin).read_bytes()).hexdigest()


@contextmanager
def own_code(what: str) -> Iterator[None]:
    """Around a call of a user's code: what goes wrong in it is told in one sentence, with the line it came from.

    Raises:
        RunError: For any exception that is not sivgap's own.
    """
    try:
        yield
    except SivgapError:
        raise
    except Exception as error:
        raise RunError(f"{what} fails: {said(error)}") from error


def said(error: Exception) -> str:
    """``ZeroDivisionError: division by zero (my_verifier.py, line 12)``."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {_first_line(error)} ({Path(last.filename).name}, line {last.lineno})"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:_LONGEST]


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


@contextmanager
def _imported_from_here() -> Iterator[None]:
    """Within it modules are found in the folder where the command was typed, too."""
    here = str(Path.cwd())
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        yield
    finally:
        if added:
            sys.path.remove(here)
