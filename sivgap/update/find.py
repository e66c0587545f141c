"""The update of a configuration: one that is shipped, or the user's own, ``update=my_module:Name``."""

from __future__ import annotations

from sivgap.config.update import UPDATES, UpdateConfig
from sivgap.errors import ConfigError
from sivgap.update.sft import Sft


def update_of(config: UpdateConfig) -> type[Sft]:
    """Its class.

    Raises:
        ConfigError: If it is of a module that cannot be imported, or no subclass of `Sft`.
    """
    kind = UPDATES.find(config.name)
    if not (isinstance(kind, type) and issubclass(kind, Sft)):
        raise ConfigError(f"update={config.name}: expected a subclass of sivgap.update.sft.Sft")
    return kind
