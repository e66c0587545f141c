"""Licences of what is installed, as a Markdown table: ``python scripts/licences.py`` prints those of the lock file."""

import re
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements" / "lock.txt"
LONGEST = 60


def licence(package: str) -> str:
    """What a package says of itself: its expression, its classifiers, or the first line of its licence."""
    try:
        about = metadata(package)
    except PackageNotFoundError:
        return "not installed here"
    named = about.get("License-Expression")
    classified = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or [] if c.startswith("License :: ")]
    text = (about.get("License") or "").strip().splitlines()
    return str(named or ", ".join(classified) or (text[0] if text else "not stated"))[:LONGEST]


def main() -> None:
    pinned = re.findall(r"^([\w.-]+)==([^\s;\\]+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    lines = ["| package | version | licence |", "|---|---|---|"]
    lines += [f"| {name} | {version} | {licence(name)} |" for name, version in sorted(dict(pinned).items())]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
