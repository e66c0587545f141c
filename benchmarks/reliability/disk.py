"""A disk that loses what was not synced: power cuts without cutting power. Needs root, mkfs.ext4 and loop devices."""

import os
import shutil
import subprocess
import time
from pathlib import Path

IMAGE_MIB = 64


class Disk:
    """A small ext4 file system in a file, of which a copy can be taken at any moment."""

    def __init__(self, work: Path) -> None:
        self.image, self.mounted = work / "disk.img", work / "disk"
        self.mounted.mkdir(exist_ok=True)
        with self.image.open("wb") as file:
            file.truncate(IMAGE_MIB * 2**20)
        self._run("mkfs.ext4", "-q", "-F", str(self.image))
        self._mount()

    def cut(self) -> None:
        """Lose what is not on the disk."""
        copy = self.image.with_suffix(".copy")
        shutil.copyfile(self.image, copy)
        self.close()
        os.replace(copy, self.image)
        self._mount()

    def close(self) -> None:
        for _ in range(20):
            if subprocess.run(["umount", str(self.mounted)], capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.2)
        self._run("umount", "-l", str(self.mounted))

    def _mount(self) -> None:
        # The journal is not to be written by the clock: all that survives was synced by the run.
        self._run("mount", "-o", "loop,commit=600", str(self.image), str(self.mounted))

    def _run(self, *command: str) -> None:
        subprocess.run(command, capture_output=True, check=True)
