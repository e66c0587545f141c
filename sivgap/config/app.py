"""What every sivgap command shares: a Hydra application whose errors are sentences.

Hydra composes; pydantic checks types, bounds and unknown keys; then the command runs. Whatever a user can cause ends in
one plain line on standard error and the status of its `SivgapError` (CONTRACT: 0, 1, 2, 75).
"""

from __future__ import annotations

import difflib
import os
import re
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args, get_origin

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from sivgap.config.locate import conf_dir, task_prompt
from sivgap.errors import ConfigError, SivgapError, Stopped, unexpected
from sivgap.registry import is_own
from sivgap.runtime.sanitize import sanitize

_NOT_REPEATED = ("key_env", "base_url")
"""Keys whose wrong values may be secrets."""

_OPEN_AXES = ("verifier", "dataset", "update")
"""Groups whose names may be of a user's own code."""

_LONGEST = 400
"""Characters that a message repeats of what was typed."""

_MOST_ERRORS = 3
"""Wrong keys told of at once."""

S = TypeVar("S", bound=BaseModel)


def run_app(
    config_name: str,
    schema: type[S],
    command: Callable[[S], object],
    job: Callable[[DictConfig, Path], object] | None = None,
) -> None:
    """Compose ``conf/<config_name>.yaml`` with the command line, check it as `schema`, run `command`, exit.

    A job of a sweep that has a manifest goes to `job`, as it was composed, with the sweep's directory.
    """
    composed = False
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let exceptions reach us; Hydra itself would exit 1 for all of them

    @hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)  # type: ignore[untyped-decorator]
    def main(raw: DictConfig) -> object:
        nonlocal composed
        composed = True
        try:
            sweep = Path(str(HydraConfig.get().sweep.dir))
            if job is not None and (sweep / "sweep.json").is_file():
                return job(raw, sweep)
            return command(validate(raw, schema))
        except SivgapError as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise  # the launcher goes on with the other jobs and reports at the end
            _exit(error)
        except Exception as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            _exit(unexpected(error, _log_of(error)))

    try:
        sys.argv[1:] = [_quoted(word) for typed in sys.argv[1:] for word in own_overrides(typed)]
        if {"--help", "-h"} & set(sys.argv[1:]):
            print(_help(config_name, schema))
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe, `head` for one, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except SivgapError as error:
        _exit(error)
    except (HydraException, OmegaConfBaseException) as error:
        _exit(ConfigError(explain_composition(error, schema, _typed())))
    except KeyboardInterrupt:
        _exit(Stopped("interrupted; run the same command to go on"))
    except Exception as error:
        if not composed and "-m" not in sys.argv and "--multirun" not in sys.argv:
            _exit(ConfigError(explain_composition(error, schema, _typed())))
        _exit(unexpected(error, _log_of(error)))


def validate(raw: DictConfig, schema: type[S]) -> S:
    """The composed configuration as typed settings.

    Raises:
        ConfigError: Naming each wrong key, what is allowed, and the nearest valid name.
    """
    try:
        container: Any = OmegaConf.to_container(raw, resolve=True, throw_on_missing=True)
        match container:
            case {"dataset": {"name": str(dataset), "prompt": str(prompt)}} if is_own(dataset):
                container["dataset"]["prompt"] = prompt.replace(f"solve_{dataset}", "solve")
        match container:
            case {"dataset": {"name": str(dataset)}, "verifier": {"prompt": str(prompt)}}:
                container["verifier"]["prompt"] = task_prompt(prompt, dataset)
        return schema.model_validate(container)
    except OmegaConfBaseException as error:
        raise ConfigError(_composition(str(error), schema)) from error
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(e, schema) for e in error.errors()[:_MOST_ERRORS])) from error


def explain_composition(error: Exception, schema: type[BaseModel], typed: Sequence[str]) -> str:
    """What Hydra found wrong with what was `typed`, in a sentence that names the key and what is allowed.

    Of what nobody foresaw (a group set to a number, digits without end) it is no exception of its own.
    """
    if isinstance(error, MissingConfigException):
        return _missing(str(error), error.missing_cfg_file)
    said = _composition(str(error), schema)
    keys = [word.lstrip("+~").partition("=")[0] for word in typed]
    named = any(re.split(r"[.@/]", key)[-1] in said for key in keys if key)
    short = _short(said)
    return short if named or not keys else f"{', '.join(key[:60] for key in keys[:6])}: {short}"


def all_keys(schema: type[BaseModel]) -> list[str]:
    """Every dotted key of a settings class."""
    return [key for key, _ in _fields(schema)]


def _fields(schema: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every dotted key of a settings class, with what is known of it."""
    for name, field in schema.model_fields.items():
        annotation = field.annotation
        nested = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type)]
        yield prefix + name, field
        for inner in nested:
            if get_origin(inner) is None and issubclass(inner, BaseModel):
                yield from _fields(inner, f"{prefix}{name}.")


def _help(config_name: str, schema: type[BaseModel]) -> str:
    """What each key means, before Hydra's own help lists their values."""
    lines = [f"python -m sivgap.{config_name} KEY=VALUE ...", "", "== Keys =="]
    for key, field in _fields(schema):
        if field.description:
            lines += [key, *textwrap.wrap(" ".join(field.description.split()), 100, initial_indent="    ",
                                          subsequent_indent="    ")]  # fmt: skip
    return "\n".join([*lines, ""])


def _exit(error: SivgapError) -> NoReturn:
    print(sanitize(f"sivgap: {' '.join(str(error).split())}"), file=sys.stderr)
    sys.exit(error.status)


def own_overrides(word: str) -> list[str]:
    """What ``verifier=my_module:Name`` stands for, and settings of one's own code, which no file declares."""
    key, _, value = word.partition("=")
    if key in _OPEN_AXES and is_own(value):
        return [f"{key}=own", f"{key}.name={value}"]
    if any(key.startswith(f"{axis}.settings.") for axis in _OPEN_AXES):
        return [f"++{word}"]
    return [word]


def _quoted(word: str) -> str:
    """An override whose value is a path with an equals sign in it, as a checkpoint has, in the quotes Hydra wants."""
    key, _, value = word.partition("=")
    return f"{key}='{value}'" if "=" in value and re.fullmatch(r"[\w./@+~=-]+", word) and "/" in value else word


def _typed() -> list[str]:
    """The overrides of the command line."""
    return [word for word in sys.argv[1:] if not word.startswith("-")]


def _log_of(error: Exception) -> Path:
    """A file of its own for the traceback of a command that has no log."""
    try:
        descriptor, name = tempfile.mkstemp(prefix="sivgap-", suffix=".log")
    except OSError:  # a full disk, which is then what the message says as well
        return Path(os.devnull)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.writelines(traceback.format_exception(error))
    return Path(name)


def _explain(error: object, schema: type[BaseModel]) -> str:
    assert isinstance(error, dict)
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return _unknown_key(key, schema)
    message = str(error["msg"]).removeprefix("Value error, ")
    if not key:
        return message
    text = f"{key}: {message[0].lower()}{message[1:]}"
    if key.rpartition(".")[2] in _NOT_REPEATED or isinstance(error["input"], dict):  # a group says itself what is wrong
        return text
    text += f", got {_short(repr(error['input']))}"
    near = difflib.get_close_matches(str(error["input"]), re.findall(r"'([^']+)'", message), 1)
    return f"{text}; did you mean {near[0]!r}?" if near else text


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def _unknown_key(key: str, schema: type[BaseModel]) -> str:
    keys = all_keys(schema)
    if key in keys:
        return f"{key} is a setting of another {key.partition('.')[0]} than the one chosen"
    near = difflib.get_close_matches(key, keys, 1, 0.4) or difflib.get_close_matches(key.split(".")[-1], keys, 1, 0.4)
    parent = key.rpartition(".")[0]
    siblings = [k for k in keys if k.rpartition(".")[0] == parent]
    allowed = f"; allowed are {', '.join(siblings)}" if siblings else ""
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown key {_short(repr(key))}{hint}{allowed}"


def _missing(message: str, wanted: str | None) -> str:
    group, _, name = (wanted or "").rpartition("/")
    options = sorted(p.stem for p in (conf_dir() / group).glob("*.yaml")) if group else []
    if not options:
        return message.splitlines()[0]
    near = difflib.get_close_matches(name, options, 1, 0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{group}={_short(name)} does not exist{hint} Available: {', '.join(options)}"


def _composition(message: str, schema: type[BaseModel]) -> str:
    unknown = re.search(r"Could not override '([^']+)'|Key '([^']+)' is not in struct", message)
    if unknown:
        return _unknown_key((unknown[1] or unknown[2]).lstrip("+~"), schema)
    group = re.search(r"Could not override '?([\w/.@]+)'?\.?\s*No match in the defaults list", message)
    if group:
        return _unknown_key(group[1], schema)
    missing = re.search(r"Missing mandatory value: (\S+)(?:.*full_key: (\S+))?", message, re.DOTALL)
    if missing:
        return f"{missing[2] or missing[1]}: expected a value, add {missing[2] or missing[1]}=..."
    return " ".join(message.split())
