"""Tables of anybody's runs: a CSV file, or the history of a run on W&B."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sivgap.errors import ConfigError, RunError


def read_csv(path: Path) -> pd.DataFrame:
    """The table in a CSV file.

    Raises:
        ConfigError: If there is no such file.
        RunError: If it is no CSV file.
    """
    if not path.is_file():
        raise ConfigError(f"csv={path}: no such file")
    try:
        table = pd.read_csv(path, skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError, OSError, OverflowError) as error:
        raise RunError(f"{path}: not a CSV file that can be read ({' '.join(str(error).split())[:120]})") from error
    table.columns = [str(column) for column in table.columns]
    return table


def read_wandb(name: str) -> pd.DataFrame:
    """The history of a run on W&B, ENTITY/PROJECT/RUN.

    Raises:
        ConfigError: If the name has not three parts.
        RunError: If it cannot be had.
    """
    if name.count("/") != 2:
        raise ConfigError(f"wandb={name}: expected ENTITY/PROJECT/RUN")
    try:
        import wandb

        rows = list(wandb.Api().run(name).scan_history())
    except Exception as error:  # its client raises many kinds
        reason = " ".join(str(error).split())[:160]
        raise RunError(f"wandb={name}: cannot be read ({reason}); the run directory has the same numbers") from error
    return pd.DataFrame(rows)
