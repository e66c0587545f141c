"""Running a sivgap command as a user does."""

import os
import subprocess
import sys
from pathlib import Path


def run_command(
    folder: Path, name: str, *arguments: str, seconds: float = 240, **env: str
) -> subprocess.CompletedProcess[str]:
    """``python -m sivgap.NAME ARGUMENTS`` in `folder`, on this checkout."""
    return subprocess.run(
        [sys.executable, "-m", f"sivgap.{name}", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **env},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
