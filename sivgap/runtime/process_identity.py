"""Whether a process lives, and telling it from a later one with its number, after a reboot for example."""

from __future__ import annotations

import os
from pathlib import Path


def alive(process: int) -> bool:
    """Whether this machine has a process of that number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True


def birth(process: int) -> str | None:
    """What no other process has, on this boot or another: the boot's id and the moment it was started; None where the
    system does not say, or there is no such process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return f"{boot} {stat.rpartition(')')[2].split()[19]}"  # field 22; a name in brackets may hold anything
