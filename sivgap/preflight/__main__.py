"""``python -m sivgap.preflight``: with the settings of a run, whether it is worth starting. Writes no run directory."""

from __future__ import annotations

import re
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from sivgap.config.app import run_app
from sivgap.config.preflight import PreflightConfig
from sivgap.errors import Stopped

if TYPE_CHECKING:
    from sivgap.preflight.findings import Findings
    from sivgap.runtime.display import Display
    from sivgap.runtime.signals import StopRequest


def main() -> None:
    run_app("preflight", PreflightConfig, preflight)


def preflight(config: PreflightConfig) -> None:
    """Try `config` on a few problems; prints the folder of what it wrote as the last line.

    Raises:
        RunError: If the model or the problems cannot be loaded, or do not fit each other.
        Stopped: If a signal asked for it.
    """
    # Said by libraries to each other about their own next versions; nothing a user of sivgap can act on.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers|peft|accelerate")
    from sivgap.runtime.display import Display
    from sivgap.runtime.hardware import return_freed_memory
    from sivgap.runtime.signals import handle_signals

    started, display = time.perf_counter(), Display()
    try:
        with handle_signals() as stop:
            found = _found(config, display, stop, started)
    finally:
        return_freed_memory()  # several may be looked at by one process
    from sivgap.preflight.page import markdown_of, show
    from sivgap.runtime.files import write_json, write_text

    show(found, display)
    folder = _folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "preflight.md", markdown_of(found))
    write_json(folder / "preflight.json", found.record())
    print(folder)


def _found(config: PreflightConfig, display: Display, stop: StopRequest, started: float) -> Findings:
    from sivgap.core.rollout import OnBatch
    from sivgap.engines.threads import settle_threads
    from sivgap.loop.components import open_components
    from sivgap.preflight.findings import findings
    from sivgap.preflight.trial import run_trial, tried
    from sivgap.runtime.hardware import keep_freed_memory
    from sivgap.tasks.load import load_dataset

    keep_freed_memory()
    settle_threads(config, {})
    dataset = load_dataset(config.dataset)

    def checked(advance: OnBatch) -> OnBatch:
        def on_batch(done: float, tokens: int) -> None:
            advance(done, tokens)
            if stop:
                raise Stopped(f"stopped by {stop.number.name if stop.number else 'a signal'}; nothing was written")

        return on_batch

    with open_components(tried(config), dataset) as components, stop.deferred():
        loading = time.perf_counter() - started
        trial = run_trial(components, config, display, checked, started, loading)
        return findings(components, config, trial, started)


def _folder(config: PreflightConfig) -> Path:
    if config.out is not None:
        return Path(config.out)
    name = "-".join((config.model.label, config.dataset.name, config.verifier.name))
    return Path("preflight") / re.sub(r"[^\w.-]", "_", name)


if __name__ == "__main__":
    main()
