"""A run's identity: a hash of everything that can change its numbers, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sivgap.config.allocation import planned
from sivgap.config.dataset import DatasetConfig
from sivgap.config.embedded import located
from sivgap.config.evaluation import EvaluateConfig
from sivgap.config.locate import read_prompt
from sivgap.config.members import member_config
from sivgap.config.model import UNNAMED, ModelSource
from sivgap.config.schema import TrainConfig
from sivgap.config.verifier import VerifierConfig
from sivgap.models.source import ADAPTER_SETTINGS, ADAPTER_WEIGHTS, base_of, base_place, read_settings
from sivgap.registry import digest_of, file_stem, is_own
from sivgap.runs.names import RESUME_FILES, numbered_directory

_ENDS = 65_536
"""Bytes read from both ends of each weight file: enough to tell models apart without reading 16 GB."""
_PIECES = 64
"""Such pieces of a GGUF file or of an adapter."""
_DEEPEST = 8
"""Adapters upon adapters."""


def identity(config: TrainConfig) -> str:
    """Sixteen hexadecimal digits. File contents enter; clock, paths, tracking, batch size, processes do not."""
    settings = config.model_dump(mode="json")
    for group in ("tracking", "runs_dir", "fresh", "launch", "plan"):
        del settings[group]
    if config.stopping.rule == "none" or config.stopping.action == "advise":
        del settings["stopping"]  # it changes no number
    else:
        del settings["stopping"]["min_gain" if config.stopping.rule == "collapse" else "entropy"]  # it is not read
    settings["cross"] = _external(config)
    if not settings["cross"]:
        del settings["cross"]
    for key in ("top_p", "verifier_top_p"):
        if settings["sampling"][key] == 1:
            del settings["sampling"][key]  # as before there was such a setting
    settings["engine"] = settings["engine"]["name"]
    del settings["update"]["micro_batch_size"], settings["update"]["checkpointing"]
    if config.update.settings is None:
        del settings["update"]["settings"]
    if is_own(config.update.name):
        settings["update"]["code"] = digest_of(config.update.name)
    if config.update.name == "sft":  # as before there was another update
        del settings["update"]["beta"], settings["update"]["sft_weight"]
    if not config.measure.reuse:
        del settings["measure"]["reuse"]
    if config.selection.keep == "likeliest":
        del settings["selection"]["keep"]
    if config.selection.finished == "any":
        del settings["selection"]["finished"]
    if config.selection.quantile is None:
        del settings["selection"]["quantile"]
    else:
        del settings["selection"]["threshold"]  # it is not read
    del settings["model"]["tokens"]  # a figure for tables
    settings["model"] = _spoken_to(settings["model"])
    settings["dataset"] = _dataset(config.dataset)
    settings["verifier"] = verifier_identity(config.verifier, config.dataset.name)
    digest = _digest_model(located(config.model.path or config.model.name))  # a rebuilt embedded model counts, too
    if digest is not None:
        settings["model"]["path"] = digest
    return short(settings)


def short(settings: Mapping[str, object]) -> str:
    """Sixteen hexadecimal digits of settings."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def responses_identity(config: EvaluateConfig) -> dict[str, object]:
    """What decides a model's responses beside the prompt itself; not how many there are of them."""
    source = ModelSource.model_validate({key: getattr(config.model, key) for key in ModelSource.model_fields})
    sampling = config.sampling.model_dump(mode="json")
    del sampling["verifier_temperature"], sampling["verifier_top_p"]
    return {
        "model": _source_identity(source.model_copy(update={"path": source.path or config.model.name})),
        "engine": config.engine.name,
        "sampling": sampling,
        "seed": config.seed,
    }


def evaluation_directory(config: EvaluateConfig) -> Path:
    """Where an evaluation's results go: named by what decides them; with ``fresh`` beside those that are there."""
    asked = {
        **responses_identity(config),
        "dataset": _dataset(config.dataset),
        "verifier": {
            **verifier_identity(config.verifier, config.dataset.name),
            **verdict_sampling(config),
        },
        "panel": [config.panel.split, config.panel.prompts, config.n],
        "weight": config.weight.model_dump(mode="json"),
        "pass_at": config.pass_at,
    }
    behind = "-".join(
        (file_stem(config.dataset.name), file_stem(config.verifier.name), f"seed{config.seed}", short(asked)[:10])
    )
    names = [f"evaluate-{name}-{behind}" for name in (config.model.label, UNNAMED)]
    return numbered_directory(Path(config.runs_dir), names, config.fresh)


def verdict_sampling(config: EvaluateConfig) -> dict[str, float]:
    """How verdicts are sampled."""
    nucleus = {} if config.sampling.verifier_top_p == 1 else {"top_p": config.sampling.verifier_top_p}
    return {"temperature": config.sampling.verifier_temperature, **nucleus}


def _dataset(config: DatasetConfig) -> dict[str, object]:
    """The settings, with the prompt's words and the files' contents in place of their names."""
    settings = config.model_dump(mode="json")
    settings["prompt"] = read_prompt(config.prompt)
    for key in ("path", "test_path"):
        if settings[key] and Path(settings[key]).is_file():
            settings[key] = _digest_file(Path(settings[key]))
    if is_own(config.name):
        settings["code"] = digest_of(config.name)
    return settings


def verifier_identity(config: VerifierConfig, dataset: str) -> dict[str, object]:
    """What decides a verifier's scores; settings that came with later verifiers count where they are not at rest."""
    settings = config.model_dump(mode="json")
    if not config.asks and config.name != "ensemble":
        noise = {} if (config.tpr, config.fpr) == (1, 0) else {key: settings[key] for key in ("tpr", "fpr", "errors")}
        own = {"settings": config.settings, "code": digest_of(config.name)} if is_own(config.name) else {}
        return {"name": config.name, **noise, **own}
    for key in ("tpr", "fpr", "errors", "settings"):
        del settings[key]
    if config.name == "ensemble":
        members = {name: verifier_identity(member_config(config, name, dataset), dataset) for name in config.members}
        return {"name": "ensemble", "combine": config.combine, "members": members, "accept": config.accept}
    settings["prompt"] = read_prompt(config.prompt)
    resting = VerifierConfig.model_fields
    later = ("heading", "pattern", "repetitions", "rounds", "both_orders", "pairing", "members", "accept", "combine")
    for key in later:
        if getattr(config, key) == resting[key].default:
            del settings[key]
    del settings["model"]
    if config.model.path is not None:
        settings["model"] = _source_identity(config.model)
    return settings


def _source_identity(source: ModelSource) -> dict[str, object]:
    path = located(source.path or "")
    return {**_spoken_to(source.model_dump()), "path": _digest_model(path) or str(Path(path))}


def _spoken_to(model: Mapping[str, Any]) -> dict[str, Any]:
    """A model's settings; those of its chat template that came later count where they are set."""
    unset = [key for key in ("system_prompt", "chat_template_kwargs") if model[key] is None]
    return {key: value for key, value in model.items() if key not in unset}


def _external(config: TrainConfig) -> dict[str, object]:
    """What decides the external data: when how much is given, and where it comes from; nothing without any."""
    cross = config.cross
    if cross.strategy == "none":
        return {}
    source: object = None
    if cross.source == "file" and cross.file:
        source = _digest_file(Path(cross.file)) if Path(cross.file).is_file() else cross.file
    elif cross.source == "model":
        source = _source_identity(cross.model)
    elif cross.source == "api":
        source = [cross.api.base_url, cross.api.model]
    asked = cross.temperature if cross.source in ("model", "api") else None
    return {"plan": planned(cross, config.epochs), "budget": cross.budget, "source": [cross.source, source, asked]}


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_model(path: str, depth: int = 0) -> str | None:
    """Of a model's files on this machine; None of a hub id, which says itself what it is."""
    place = Path(path)
    if place.is_file():
        return _digest_spread(place)
    if not place.is_dir():
        return None
    digest = _digest_folder(place)
    if not (place / ADAPTER_SETTINGS).is_file() or depth > _DEEPEST:
        return digest
    settings = read_settings(place)
    named, revision = base_of(place)
    settings.pop("base_model_name_or_path")
    base = base_place(place, named)
    return short({
        "adapter": [settings, _digest_spread(place / ADAPTER_WEIGHTS)],
        "tokenizer": digest if (place / "tokenizer_config.json").exists() else None,
        "base": _digest_model(base, depth + 1) or [base, revision],
    })  # fmt: skip


def _digest_spread(path: Path) -> str:
    """Of a large file's size and of pieces all over it, the whole of a small one."""
    digest = hashlib.sha256()
    if path.is_file():
        size = path.stat().st_size
        digest.update(f"{size}\n".encode())
        with path.open("rb") as stream:
            for place in range(0, size, max(_ENDS, size // _PIECES)):
                stream.seek(place)
                digest.update(stream.read(_ENDS))
            stream.seek(max(0, size - _ENDS))
            digest.update(stream.read(_ENDS))
    return digest.hexdigest()


def _digest_folder(path: Path) -> str:
    digest = hashlib.sha256()
    kinds = (".safetensors", ".json", ".jinja", ".model")
    for file in sorted(p for p in path.iterdir() if p.suffix in kinds and p.name not in RESUME_FILES):
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(_ENDS))
            stream.seek(max(0, file.stat().st_size - _ENDS))
            digest.update(stream.read(_ENDS))
    return digest.hexdigest()
