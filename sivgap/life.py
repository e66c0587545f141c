"""Telling a process from a later one that was given the same number, after a reboot for example."""

from __future__ import annotations

from pathlib import Path


def birth(process: int) -> str | None:
    """What no other process has, on this boot or another: the boot's id and the moment it was started; None where the
    system does not say, or there is no such process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return f"{boot} {stat.rpartition(')')[2].split()[19]}"  # field 22; a name in brackets may hold anything
