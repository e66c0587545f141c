"""The parsers of verdicts that the shipped YAML files make."""

from typing import Any

import yaml

from sivgap.config.locate import conf_dir
from sivgap.config.verifier import VerifierConfig
from sivgap.verifiers.parse import Parser, verdict_parser

NAMES = ("qe", "tf", "mc", "cot_binary", "cot_score", "tournament")


def parser(name: str, **overrides: Any) -> Parser:
    settings = yaml.safe_load((conf_dir() / "verifier" / f"{name}.yaml").read_text())
    return verdict_parser(VerifierConfig.model_validate({**settings, **overrides}))


def shipped_parsers() -> list[Parser]:
    return [parser(name) for name in NAMES]
