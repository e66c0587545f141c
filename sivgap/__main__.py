"""``sivgap train ...``: the commands by one name, each the same as ``python -m sivgap.train ...``."""

from __future__ import annotations

import importlib
import sys
from difflib import get_close_matches

COMMANDS = {
    "train": "self-improvement or cross-improvement, from a configuration",
    "preflight": "two minutes before a long run: what it would see, cost and get wrong",
    "evaluate": "measure a model, a task and a verifier without training",
    "fit": "explain and forecast logged trajectories, or any curve",
    "allocate": "from a fit: when to give external data",
    "report": "a run, a sweep or evaluations as a page, tables and figures",
    "compare": "two runs or evaluations of one panel, paired",
    "grade": "grade a file of responses by ground truth",
    "export": "a run's adapter or model, to use and share",
    "upload": "send runs to W&B afterwards",
    "dashboard": "a W&B workspace as code",
}
_ROOMS = ("preflight", "report")
"""Commands that are packages."""


def main() -> None:
    """Run the command that the first word names; exits as it does, with 2 where there is none of that name."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-h"):
        print(usage())
        return
    if name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        print(f"sivgap: no command {name[:60]!r}{hint}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)
    del sys.argv[1]
    importlib.import_module(f"sivgap.{name}.__main__" if name in _ROOMS else f"sivgap.{name}").main()


def usage() -> str:
    """What there is, one line a command."""
    lines = [f"  {name:<10} {text}" for name, text in COMMANDS.items()]
    return "\n".join(["sivgap COMMAND KEY=VALUE ...      (sivgap COMMAND --help says every key)", "", *lines])


if __name__ == "__main__":
    main()
