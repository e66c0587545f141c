"""Makes `sivgap.sweep` Hydra's sweeper: Hydra loads plugins from this namespace alone."""

from __future__ import annotations

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore


class SivgapSweeper(BasicSweeper):
    """Hydra's own expansion of ``key=a,b``, with a manifest, resumption, and one process a job."""

    def sweep(self, arguments: list[str]) -> Any:
        from sivgap.sweep.sweeper import sweep

        return sweep(self, arguments)


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="sivgap",
    node={"_target_": "hydra_plugins.sivgap_sweeper.SivgapSweeper", "max_batch_size": None, "params": None},
    provider="sivgap",
)
