"""Where the shipped configuration lies: ``conf/`` of a checkout, or the copy inside an installed wheel."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from sivgap.errors import ConfigError

_LONGEST_PROMPT = 2**20
"""Bytes of a prompt file."""

_PACKAGE = Path(__file__).parent.parent


def conf_dir() -> Path:
    """The directory with the shipped YAML files and prompts."""
    installed, checkout = _PACKAGE / "conf", _PACKAGE.parent / "conf"
    return installed if installed.is_dir() else checkout


def shipped(group: str) -> tuple[str, ...]:
    """The names that a group of the shipped configuration has, but ``own``, which stands for a user's code."""
    return tuple(sorted(path.stem for path in (conf_dir() / group).glob("*.yaml") if path.stem != "own"))


def task_prompt(name: str, dataset: str) -> str:
    """The variant of a shipped prompt for a dataset, ``chat/mc_sudoku.txt`` for ``chat/mc.txt``, if there is one.

    What is not shipped, a path, stays as it is.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or not path.name:
        return name
    try:
        variant = path.with_stem(f"{path.stem}_{dataset}")
        return str(variant) if (conf_dir() / "prompts" / variant).is_file() else name
    except (OSError, ValueError):  # no dataset has such a name, which is refused in its turn
        return name


def read_prompt(name: str) -> str:
    """A prompt template by its name under ``conf/prompts``, or by any path.

    Raises:
        ConfigError: If there is no such file.
    """
    for path in (Path(name).expanduser(), conf_dir() / "prompts" / name):
        try:
            if path.is_file():
                with path.open("rb") as file:
                    text = file.read(_LONGEST_PROMPT + 1)
                if len(text) > _LONGEST_PROMPT:
                    raise ConfigError(f"prompt file {name!r}: longer than {_LONGEST_PROMPT // 2**20} MiB")
                return text.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
        except (OSError, ValueError) as error:
            raise ConfigError(f"prompt file {name!r}: cannot be read as text ({str(error)[:80]})") from error
    shipped = sorted(str(p.relative_to(conf_dir() / "prompts")) for p in (conf_dir() / "prompts").rglob("*.txt"))
    raise ConfigError(f"prompt file {name!r} not found: expected a path, or one of {', '.join(shipped)}")
