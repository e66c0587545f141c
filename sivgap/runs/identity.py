"""A run's identity: a hash of everything that can change its numbers, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from sivgap.config.locate import read_prompt
from sivgap.config.schema import TrainConfig
from sivgap.cross.allocation import planned
from sivgap.tiny import WEIGHTS

_ENDS = 65_536
"""Bytes read from both ends of each weight file: enough to tell models apart without reading 16 GB."""


def identity(config: TrainConfig) -> str:
    """Sixteen hexadecimal digits. Clock, paths, tracking, batch size and hardware do not enter; file contents do."""
    settings = config.model_dump(mode="json")
    for group in ("tracking", "runs_dir", "fresh"):
        del settings[group]
    if config.stopping.rule == "none" or config.stopping.action == "advise":
        del settings["stopping"]  # it changes no number
    settings["cross"] = _external(config)
    if not settings["cross"]:
        del settings["cross"]
    settings["engine"] = settings["engine"]["name"]
    del settings["update"]["micro_batch_size"]
    for group in ("dataset", "verifier"):
        settings[group]["prompt"] = read_prompt(settings[group]["prompt"])
    for key in ("path", "test_path"):
        path = settings["dataset"][key]
        if path and Path(path).is_file():
            settings["dataset"][key] = _digest_file(Path(path))
    model_path = settings["model"]["path"] or str(WEIGHTS)  # a rebuilt tiny model makes other numbers, too
    if Path(model_path).is_dir():
        settings["model"]["path"] = _digest_folder(Path(model_path))
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _external(config: TrainConfig) -> dict[str, object]:
    """What decides the external data: when how much is given, and where it comes from; nothing without any."""
    cross = config.cross
    if cross.strategy == "none":
        return {}
    source: object = None
    if cross.source == "file" and cross.file:
        source = _digest_file(Path(cross.file)) if Path(cross.file).is_file() else cross.file
    elif cross.source == "model":
        path = Path(cross.model.path or "")
        source = {**cross.model.model_dump(), "path": _digest_folder(path) if path.is_dir() else str(path)}
    elif cross.source == "api":
        source = [cross.api.base_url, cross.api.model]
    asked = cross.temperature if cross.source in ("model", "api") else None
    return {"plan": planned(cross, config.epochs), "budget": cross.budget, "source": [cross.source, source, asked]}


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_folder(path: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(p for p in path.iterdir() if p.suffix in (".safetensors", ".json", ".jinja", ".model")):
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(_ENDS))
            stream.seek(max(0, file.stat().st_size - _ENDS))
            digest.update(stream.read(_ENDS))
    return digest.hexdigest()
