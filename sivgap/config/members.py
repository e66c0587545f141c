"""The members of an ensemble of verifiers, as configurations of their own."""

from __future__ import annotations

from pathlib import PurePath

import yaml

from sivgap.config.locate import conf_dir
from sivgap.config.schema import VerifierConfig


def member_config(config: VerifierConfig, name: str) -> VerifierConfig:
    """A member of an ensemble: its own YAML, with the ensemble's folder of prompts, readout, repetitions and model."""
    shipped = yaml.safe_load((conf_dir() / "verifier" / f"{name}.yaml").read_text(encoding="utf-8"))
    prompt = str(PurePath(config.prompt).with_name(f"{name}.txt"))
    shared = {"prompt": prompt, "readout": config.readout, "repetitions": config.repetitions, "model": config.model}
    return VerifierConfig.model_validate({**shipped, **shared})
