"""What may lie in a model's folder: plain data.

Weights in pickles, links that lead elsewhere and sizes that no model has are refused before a library opens them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sivgap.errors import RunError

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
"""Endings of files that can run any program when they are opened."""

_OPENED = (".json", ".safetensors", ".jinja", ".model", ".txt")
_LARGEST_TEXT = 256 * 2**20
"""Bytes of a JSON file; the largest real tokenizer.json has some 35 million."""

_MOST = {
    "num_hidden_layers": 10_000, "hidden_size": 2**20, "intermediate_size": 2**24, "num_attention_heads": 2**16,
    "num_key_value_heads": 2**16, "vocab_size": 2**26, "max_position_embeddings": 2**40, "head_dim": 2**20,
}  # fmt: skip
"""Far above any model there is; beyond it, memory is asked for that no machine has."""


def check_files(folder: Path) -> None:
    """Raises RunError if the model in `folder` is not to be opened, with what to do."""
    for file in sorted(folder.iterdir()):
        if file.suffix in _OPENED:
            _check_place(file, folder)
            if file.suffix != ".safetensors" and file.stat().st_size > _LARGEST_TEXT:
                raise RunError(f"{file}: larger than {_LARGEST_TEXT // 2**20} MiB; this is no model's file")
    _check_weights(folder, "model")
    if (folder / "adapter_config.json").exists():
        _check_weights(folder, "adapter_model")
    index = folder / "model.safetensors.index.json"
    if index.exists():
        parts = _object(index).get("weight_map")
        for name in sorted(set(map(str, parts.values()))) if isinstance(parts, dict) else [""]:
            if "/" in name or "\\" in name or not name.endswith(".safetensors"):
                raise RunError(f"{index}: names {name[:80]!r} as weights; expected *.safetensors files beside it")
    config = _object(folder / "config.json") if (folder / "config.json").exists() else {}
    for name, value in _sizes(config):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _MOST[name]:
            raise RunError(f"{folder / 'config.json'}: {name} is {str(value)[:40]!r}, which no model has")


def check_gguf(file: Path) -> None:
    """Raises RunError if `file` is no GGUF file; its contents are data, read by the ``gguf`` package."""
    if file.suffix.lower() != ".gguf":
        raise RunError(f"model.path={file}: expected a folder or a .gguf file")
    try:
        with file.open("rb") as opened:
            beginning = opened.read(4)
    except OSError as error:
        raise RunError(f"model.path={file}: cannot be read ({error.strerror})") from error
    if (file.parent / "adapter_config.json").exists():  # transformers would take its base model in place of the file
        raise RunError(f"model.path={file}: an adapter lies beside it; put the file into a folder of its own")
    if beginning != b"GGUF":
        raise RunError(f"model.path={file}: no GGUF file, or a broken one (it does not begin with GGUF)")


def _check_place(file: Path, folder: Path) -> None:
    """Links may lead into the hub's cache, which is made of them, and nowhere else outside of the folder."""
    found, home = file.resolve(), folder.resolve()
    if not found.is_file():
        raise RunError(f"{file}: no file, or a link that leads to none")
    if file.is_symlink() and not found.is_relative_to(home) and not found.is_relative_to(home.parents[1] / "blobs"):
        raise RunError(f"{file}: a link that leads out of the model's folder; put the file itself there")


def _check_weights(folder: Path, name: str) -> None:
    safe = list(folder.glob(f"{name}*.safetensors"))
    pickled = [file.name for file in sorted(folder.iterdir()) if file.suffix in PICKLES]
    if not safe and pickled:
        raise RunError(
            f"{folder}: its weights are pickled ({pickled[0]}), and opening them can run any program; convert them to "
            "safetensors where you trust them, or take a copy that has *.safetensors"
        )


def _object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{file}: cannot be read ({str(error)[:80]})") from error
    if not isinstance(found, dict):
        raise RunError(f"{file}: expected an object, found {type(found).__name__}")
    return found


def _sizes(config: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """Every stated size; of models of several kinds of input, those of the part for text as well."""
    text = config.get("text_config")
    for part in (config, text if isinstance(text, dict) else {}):
        yield from ((name, part[name]) for name in _MOST if part.get(name) is not None)
