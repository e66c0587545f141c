"""What ``model.path`` names: a hub id, a folder, a GGUF file, or a PEFT folder (a run's checkpoint is one) on its base.

Nothing here imports torch: a run's identity is made of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sivgap.config.embedded import EMBEDDED, located
from sivgap.errors import RunError
from sivgap.models.files import check_files, check_gguf

ADAPTER_SETTINGS = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_DEEPEST = 8
"""Adapters upon adapters."""
_LONGEST = 1000
"""Characters of a base model's path."""


@dataclass(frozen=True)
class Source:
    """Where transformers finds a model.

    Attributes:
        path: Folder or hub id of its config and whole weights; of a GGUF file the folder.
        options: What `from_pretrained` needs beside it (``revision``, ``gguf_file``).
        adapters: PEFT folders to merge into the weights, in this order.
        tokenizer: Folder of the tokenizer where an adapter brings its own.
    """

    path: str
    options: dict[str, str] = field(default_factory=dict)
    adapters: tuple[Path, ...] = ()
    tokenizer: str | None = None

    @property
    def file(self) -> Path:
        """The folder, or the GGUF file in it."""
        return Path(self.path) / self.options.get("gguf_file", "")

    @property
    def plain(self) -> bool:
        """Whether any program that reads transformers' layout can read it."""
        return not self.adapters and "gguf_file" not in self.options


def find_source(path: str, revision: str | None = None, online: bool = True) -> Source:
    """What `path` names; with `online` the hub may be asked whether it is an adapter there.

    Raises:
        RunError: If there is nothing of that name, or files of a kind that is not opened.
    """
    return _find(located(path), revision, online, 0)


def _find(path: str, revision: str | None, online: bool, depth: int) -> Source:
    place = Path(path)
    if place.is_file():
        check_gguf(place)
        return Source(str(place.parent), {"gguf_file": place.name})
    if not place.is_dir():
        if not is_hub_id(path):
            raise RunError(f"model.path={path}: no such folder or .gguf file, and not a hub id (OWNER/NAME)")
        on_hub = _adapter_on_hub(path, revision, online)
        if on_hub is None:
            return Source(path, {"revision": revision} if revision else {})
        place = on_hub
    check_files(place)
    if (place / ADAPTER_SETTINGS).is_file():
        return _on_its_base(place, online, depth)
    if not (place / "config.json").exists():
        raise RunError(_no_model(place))
    return Source(str(place))


def lasting_name(path: str) -> str:
    """What a run's files call a model at `path`, for other programs, wherever they run: a hub id, or a whole path."""
    place = Path(located(path))
    return str(place.resolve()) if place.exists() else path


def is_hub_id(path: str) -> bool:
    return path.count("/") == 1 and not path.startswith(("/", "."))


def _on_its_base(folder: Path, online: bool, depth: int) -> Source:
    if depth == _DEEPEST:
        raise RunError(f"{folder}: an adapter of an adapter of an adapter ..., without a base model")
    named, revision = base_of(folder)
    base = _find(base_place(folder, named), revision, online, depth + 1)
    own = str(folder) if (folder / "tokenizer_config.json").exists() else None
    return replace(base, adapters=(*base.adapters, folder), tokenizer=own or base.tokenizer)


def base_of(folder: Path) -> tuple[str, str | None]:
    """The base model that a PEFT folder names, and its revision.

    Raises:
        RunError: If it names none.
    """
    settings = read_settings(folder)
    named, revision = settings.get("base_model_name_or_path"), settings.get("revision")
    if not isinstance(named, str) or not named or "\0" in named or len(named) > _LONGEST:
        raise RunError(
            f"{folder / ADAPTER_SETTINGS}: does not say which model the adapter belongs to; write its folder or hub id "
            "there as base_model_name_or_path"
        )
    return named, revision if isinstance(revision, str) else None


def read_settings(folder: Path) -> dict[str, Any]:
    """``adapter_config.json`` of a PEFT folder, as it is.

    Raises:
        RunError: If it is no object.
    """
    try:
        found = json.loads((folder / ADAPTER_SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{folder / ADAPTER_SETTINGS}: cannot be read ({str(error)[:80]})") from error
    if not isinstance(found, dict):
        raise RunError(f"{folder / ADAPTER_SETTINGS}: expected an object, found {type(found).__name__}")
    return found


def base_place(folder: Path, named: str) -> str:
    """Where the base model `named` in a PEFT folder is: as it is named, beside the folder, embedded, or on the hub.

    Raises:
        RunError: If it is nowhere.
    """
    last = Path(named).name
    for place in (Path(named), folder / named, folder.parent / last):
        if place.is_dir() or (place.is_file() and place.suffix == ".gguf"):
            return str(place)
    for embedded in EMBEDDED.values():  # of a run on another machine, or of another installation
        if Path(named).parts[-3:] == embedded.parts[-3:]:
            return str(embedded)
    if is_hub_id(named):
        return named
    raise RunError(
        f"{folder}: its base model {named[:200]!r} is no folder here and no hub id; put a copy of it at "
        f"{folder.parent / last}, or correct base_model_name_or_path in {ADAPTER_SETTINGS}"
    )


def _adapter_on_hub(path: str, revision: str | None, online: bool) -> Path | None:
    """The folder of a PEFT repository of the hub; None for any other, and where the hub cannot be asked."""
    from transformers.utils import cached_file, find_adapter_config_file

    options = {"revision": revision, "local_files_only": not online}
    try:
        settings = find_adapter_config_file(path, **options)
        if settings is None:
            return None
        cached_file(path, ADAPTER_WEIGHTS, **options)
    except Exception:  # no network, no licence: what loads the model says so
        return None
    return Path(settings).parent


def _no_model(folder: Path) -> str:
    newest = sorted(folder.glob("checkpoints/epoch=*"))
    if newest:
        return f"model.path={folder}: a run's directory; give one of its checkpoints, for example {newest[-1]}"
    if (folder / "weights.safetensors").exists():
        return (
            f"model.path={folder}: a checkpoint of an older sivgap, which does not name its model; write it anew with "
            f"'python -m sivgap.export run={folder.parent.parent} out=FOLDER', and give FOLDER"
        )
    return (
        f"model.path={folder} cannot be loaded (it has neither config.json nor {ADAPTER_SETTINGS}); expected a folder "
        "with config.json, tokenizer files and *.safetensors in the transformers layout, or a PEFT folder"
    )
