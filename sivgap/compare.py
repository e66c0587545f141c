"""``python -m sivgap.compare A B``: two runs, or two evaluations, of one panel, paired prompt by prompt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from sivgap.config.app import run_app
from sivgap.config.settings import Settings


class CompareConfig(Settings):
    """What to compare. ``python -m sivgap.compare A B`` is short for ``a=A b=B``."""

    a: str
    """A run's or an evaluation's directory."""
    b: str
    """Another of the same kind; differences are of B less A."""
    split: Literal["test", "train"] = "test"
    """Of runs: the held-out panel, or the one of training problems."""
    out: str = "reports"
    """Where page, tables and figure go: ``out``/A-against-B."""


def main() -> None:
    sys.argv[1:] = named(sys.argv[1:])
    run_app("compare", CompareConfig, compare)


def named(words: list[str]) -> list[str]:
    """The command line with the first two bare words as ``a=`` and ``b=``, quoted for paths that hold anything."""
    names, found = iter(("a", "b")), []
    for before, word in zip(["", *words], words, strict=False):
        key, given, _ = word.lstrip("+").partition("=")
        option = word.startswith("-") or (before.startswith("-") and "=" not in before)  # or an option's value
        setting = given and key in CompareConfig.model_fields
        found.append(word if option or setting else _as(next(names, ""), word))
    return found


def _as(name: str, word: str) -> str:
    if not name:
        return word
    escaped = word.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{escaped}'"


def compare(config: CompareConfig) -> None:
    """Write the comparison; prints the path of its page.

    Raises:
        ConfigError: If one of the two is neither a run nor an evaluation, or they are not of one kind.
        RunError: If one cannot be read, or they have no prompt in common.
    """
    from sivgap.report.compare import report_comparison
    from sivgap.runtime.display import Display

    print(report_comparison(Path(config.a), Path(config.b), config.split, Path(config.out), Display()))


if __name__ == "__main__":
    main()
