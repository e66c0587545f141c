"""The model card (``README.md``) of an exported model: what it was made from and how, and what was measured."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sivgap.config.locate import conf_dir
from sivgap.config.model import UNNAMED, ModelConfig
from sivgap.models.source import is_hub_id
from sivgap.runs.trajectory import Line, Trajectory
from sivgap.runtime.read import read_json
from sivgap.runtime.sanitize import sanitize

_COLUMNS = {
    "solver_uncertainty": "U_s (nats)",
    "verifier_uncertainty": "U_v (nats)",
    "gap": "gap (nats)",
    "solver_accuracy": "accuracy of the solver",
    "verifier_accuracy": "of the verifier's choice",
    "solver_length": "tokens a response",
}
_KEYS = (
    "seed", "n", "epochs", "refresh", "sampling.solver_temperature", "sampling.max_new_tokens", "selection.threshold",
    "update", "update.parameters", "update.lora_rank", "update.lora_alpha", "update.learning_rate", "update.batch_size",
    "cross.strategy", "engine",
)  # fmt: skip
"""Settings that the command in a card repeats, beside model, dataset and verifier."""


def model_card(run: Path, checkpoint: str, settings: Mapping[str, Any], whole: bool) -> str:
    """The card of the checkpoint called `checkpoint` of a run with `settings`, whether of the whole model or not.

    Raises:
        RunError: If the run's trajectory is broken.
    """
    model = ModelConfig.model_validate(settings["model"])
    epoch = float(re.sub(r"^epoch=|-step=.*$", "", checkpoint))
    lines = [line for line in Trajectory(run / "trajectory.jsonl").read() if line["epoch"] <= epoch]
    on_hub = model.path is not None and is_hub_id(model.path) and not Path(model.path).exists()
    base = str(model.path) if on_hub else model.label
    kind = "the whole model" if whole else "a LoRA adapter"
    epochs = "1 epoch" if epoch == 1 else f"{epoch:g} epochs"
    task, verifier = settings["dataset"]["name"], settings["verifier"]["name"]
    return "\n".join([
        "---",
        f"base_model: {json.dumps(base)}",
        f"library_name: {'transformers' if whole else 'peft'}",
        "tags: [sivgap, self-improvement]",
        "---",
        "",
        f"# {_plain(model.label)} after {epochs} of self-improvement on {_plain(task)}",
        "",
        f"This is {kind}, trained by sivgap on the model's own responses: of N = {settings['n']} to each problem those "
        f"that its verifier (`{_plain(verifier)}`) passed were learnt. The base model is `{_plain(base)}` (licence: "
        f"{_plain(model.licence)}).",
        "",
        "## What was measured",
        "",
        *_measured(lines),
        "",
        "U_s and U_v are minus the summed log-likelihood of the first response and of the one that the verifier "
        "chooses; their gap is what is left to gain. Measured on fixed panels of problems, "
        f"{settings['measure'].get('samples') or settings['n']} responses each, `model.dtype={model.dtype}`.",
        "",
        "## How",
        "",
        f"    {_command(model, base, settings)}",
        "",
        f"Checkpoint `{_plain(checkpoint)}` of the run `{_plain(run.resolve().name)}`, with the main of its settings. "
        f"Versions: {_versions(run)}.",
        "",
    ])  # fmt: skip


def _measured(lines: Sequence[Line]) -> list[str]:
    """The first and the last measurement of each panel, as a table."""
    rows = []
    for split in ("train", "test"):
        those = [line for line in lines if line["split"] == split]
        for line in [those[0], those[-1]] if len(those) > 1 else those:
            values = " | ".join(_value(line, key) for key in _COLUMNS)
            rows.append(f"| {split} | {line['epoch']:g} | {line.get('n_prompts', '')} | {values} |")
    if not rows:
        return ["Nothing yet."]
    return [
        f"| panel | epoch | problems | {' | '.join(_COLUMNS.values())} |",
        "|---|---|---|" + "---|" * len(_COLUMNS),
        *rows,
    ]


def _value(line: Line, key: str) -> str:
    """A number with its standard error; one that does not exist is a dash."""
    value, error = line.get(key), line.get(f"{key}_se")
    if not isinstance(value, int | float):
        return "–"
    return f"{value:.3f}" + (f" ± {error:.3f}" if isinstance(error, int | float) else "")


def _command(model: ModelConfig, base: str, settings: Mapping[str, Any]) -> str:
    shipped = (conf_dir() / "model" / f"{model.name}.yaml").is_file()
    named = [f"model={model.name}"] if shipped else [f"model={UNNAMED}", f"model.path={base}"]
    parts = [*named, f"dataset={settings['dataset']['name']}", f"verifier={settings['verifier']['name']}"]
    for key in _KEYS:
        value: Any = settings
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        value = value.get("name") if isinstance(value, dict) else value
        if value is not None:
            parts.append(f"{key}={value}")
    return _plain(" ".join(["python -m sivgap.train", *map(str, parts)]))


def _versions(run: Path) -> str:
    try:
        found = read_json(run / "status.json", run).get("versions", {})
    except (OSError, ValueError, AttributeError):
        found = {}
    return _plain(", ".join(f"{name} {version}" for name, version in found.items() if version)) or "unknown"


def _plain(text: object) -> str:
    """On one line, without what a page would obey."""
    return re.sub(r"[<>|`\[\]]", "", sanitize(" ".join(str(text).split())))
