"""The verifiers that a configuration stands for: itself, or the members of an ensemble."""

from __future__ import annotations

from pathlib import PurePosixPath

import yaml

from sivgap.config.locate import conf_dir, task_prompt
from sivgap.config.verifier import VerifierConfig
from sivgap.registry import is_own


def member_config(config: VerifierConfig, name: str, dataset: str) -> VerifierConfig:
    """A member of an ensemble: its own YAML, with the ensemble's folder of prompts, repetitions and model. Its readout,
    too, is its own (that of ``mc`` is expected), unless the ensemble's says that all are expected."""
    if is_own(name):
        return VerifierConfig(name=name)
    shipped = yaml.safe_load((conf_dir() / "verifier" / f"{name}.yaml").read_text(encoding="utf-8"))
    alone = VerifierConfig.model_validate(shipped)
    if not alone.asks:
        return alone
    prompt = task_prompt(str(PurePosixPath(config.prompt).with_name(f"{name}.txt")), dataset)
    shared = {"prompt": prompt, "repetitions": config.repetitions, "model": config.model}
    readout = {"readout": config.readout} if config.readout == "expected" else {}
    return VerifierConfig.model_validate({**shipped, **shared, **readout})


def asking(config: VerifierConfig, dataset: str) -> list[VerifierConfig]:
    """The verifiers of `config` that ask a model: itself, or the members of an ensemble."""
    members = config.members if config.name == "ensemble" else []
    each = [member_config(config, name, dataset) for name in members] or [config]
    return [one for one in each if one.asks]
