"""``python -m sivgap.export run=RUN_DIRECTORY out=FOLDER``: a run's adapter, or the whole model, to use and share."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from sivgap.config.app import run_app
from sivgap.config.model import ModelConfig
from sivgap.config.settings import FilePath, Settings
from sivgap.config.update import UpdateConfig
from sivgap.errors import ConfigError, RunError
from sivgap.models.source import ADAPTER_SETTINGS, ADAPTER_WEIGHTS, lasting_name
from sivgap.runs.card import model_card
from sivgap.runs.names import epoch_name
from sivgap.runtime.checksums import Damaged
from sivgap.runtime.display import Display
from sivgap.runtime.files import write_new_folder
from sivgap.runtime.read import read_yaml
from sivgap.runtime.sanitize import sanitize

if TYPE_CHECKING:
    from torch import Tensor


class ExportConfig(Settings):
    """One checkpoint to export."""

    run: FilePath
    """The run's directory."""
    out: FilePath
    """A folder that is not there yet, or empty."""
    epoch: float | None = Field(default=None, ge=0)
    """Which checkpoint; null is the last."""
    merged: bool = False
    """Write the whole model rather than the adapter; of ``update.parameters=full`` it is written anyway."""


def main() -> None:
    run_app("export", ExportConfig, export)


def export(config: ExportConfig) -> None:
    """Write the folder and its card; prints its path.

    Raises:
        ConfigError: If there is no such run or checkpoint, or something is at ``out`` already.
        RunError: If the checkpoint is damaged, or its base model cannot be loaded; nothing is written then.
    """
    run, out, display = Path(config.run), Path(config.out), Display()
    if not (run / "config.yaml").is_file():
        raise ConfigError(f"run={run}: no run's directory (it has no config.yaml)")
    if os.path.lexists(out) and not (out.is_dir() and not out.is_symlink() and not any(out.iterdir())):
        raise ConfigError(f"out={out}: something is there already; give a folder that is not")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"out={out}: its folder does not exist")
    settings = _settings(run)
    checkpoint = _checkpoint(run, config.epoch)
    whole = config.merged or settings["update"]["parameters"] == "full"
    if whole and not config.merged:
        display.say("all weights were trained (update.parameters=full): the whole model is written")

    def fill(aside: Path) -> None:
        if whole:
            _write_whole(checkpoint, settings, aside)
        else:
            _write_adapter(checkpoint, settings, aside)
        (aside / "README.md").write_text(model_card(run, checkpoint.name, settings, whole), encoding="utf-8")

    try:
        write_new_folder(out, fill)
    except FileExistsError as error:
        raise ConfigError(f"out={out}: something is there already; give a folder that is not") from error
    print(out)


def _settings(run: Path) -> dict[str, Any]:
    """``config.yaml``; what is used of it is checked there."""
    try:
        found = read_yaml(run / "config.yaml", run)
        _model(found), UpdateConfig.model_validate(found["update"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0][:120] if not isinstance(error, ValidationError) else "a wrong setting"
        raise RunError(f"{run / 'config.yaml'}: cannot be read ({reason})") from error
    return dict(found)


def _model(settings: dict[str, Any]) -> ModelConfig:
    return ModelConfig.model_validate(settings["model"])


def _checkpoint(run: Path, epoch: float | None) -> Path:
    """The checkpoint of `epoch`, or the last; its files are as they were written."""
    from sivgap.runs.checkpoint import check_all

    names = sorted(path.name for path in (run / "checkpoints").glob("epoch=*"))
    if not names:
        raise ConfigError(f"run={run}: it has no checkpoint yet")
    name = names[-1] if epoch is None else epoch_name(epoch)
    if name not in names:
        raise ConfigError(f"epoch={epoch:g}: no such checkpoint; there are {', '.join(names)}")
    try:
        check_all(run / "checkpoints" / name)
    except (OSError, ValueError, Damaged) as error:
        raise RunError(f"{run / 'checkpoints' / name}: damaged ({str(error)[:200]}); export another epoch") from error
    return run / "checkpoints" / name


def _write_adapter(checkpoint: Path, settings: dict[str, Any], folder: Path) -> None:
    if (checkpoint / ADAPTER_SETTINGS).exists():
        for name in (ADAPTER_SETTINGS, ADAPTER_WEIGHTS):
            shutil.copyfile(checkpoint / name, folder / name)
        return
    from sivgap.models.layout import beside_adapter
    from sivgap.runs.checkpoint import save_weights

    weights = _weights(checkpoint)
    save_weights(folder, weights)
    for name, contents in beside_adapter(_lora_of(weights, settings)).items():
        (folder / name).write_bytes(contents)


def _write_whole(checkpoint: Path, settings: dict[str, Any], folder: Path) -> None:
    """The base model with what was trained, as the run's engine sampled with it."""
    import torch

    from sivgap.models.adapter import AdapterSettings, merge_tensors
    from sivgap.models.layout import write_model
    from sivgap.models.load import load_model

    model = _model(settings)
    if not (checkpoint / "weights.safetensors").exists():
        loaded = load_model(model.model_copy(update={"path": str(checkpoint)}))
    else:  # of an earlier version, which named no base model
        loaded, weights = load_model(model), _weights(checkpoint)
        if settings["update"]["parameters"] == "lora":
            alpha = AdapterSettings(float(settings["update"]["lora_alpha"]), {}, root=False, transposed=False)
            merge_tensors(loaded.model, weights, alpha, str(checkpoint))
        else:
            own = dict(loaded.model.named_parameters())
            with torch.no_grad():
                for name, weight in weights.items():
                    own[name].copy_(weight)
    write_model(loaded.model, loaded.tokenizer, folder)


def _weights(checkpoint: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError

    from sivgap.runs.checkpoint import read_weights

    try:
        return read_weights(checkpoint)
    except (OSError, ValueError, SafetensorError) as error:
        raise RunError(f"{checkpoint}: cannot be read ({sanitize(str(error))[:120]}); export another epoch") from error


def _lora_of(weights: dict[str, Tensor], settings: dict[str, Any]) -> Any:
    """The adapter's settings, of checkpoints that do not hold them."""
    from peft import LoraConfig

    model, update = _model(settings), UpdateConfig.model_validate(settings["update"])
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=update.lora_rank,
        lora_alpha=update.lora_alpha,  # type: ignore[arg-type]
        lora_dropout=update.lora_dropout,
        target_modules=sorted({name.split(".lora_")[0].rpartition(".")[2] for name in weights}),
        revision=model.revision,
    )
    config.base_model_name_or_path = lasting_name(model.path or model.name)
    return config


if __name__ == "__main__":
    main()
