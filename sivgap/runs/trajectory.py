"""``trajectory.jsonl``: one measurement a line, appended and synced; the truth, whatever W&B received."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sivgap.errors import RunError
from sivgap.runtime.checksums import Damaged, damaged, digest, note, noted
from sivgap.runtime.files import append_line, finite, write_text

Line = dict[str, Any]

MOST_EPOCHS = 1e9
"""Beyond what any run reaches; a larger number in a trajectory is damage."""


class Trajectory:
    """The measurements of a run, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, line: Line) -> None:
        """Add one measurement. A number that does not exist (NaN, infinite) is written as null.

        Raises:
            Damaged: If what is there is not what was written.
        """
        text = json.dumps(finite(line), allow_nan=False)
        before = self._sound() if self.path.exists() else b""
        note(self.path.parent, self.path, digest(before + f"{text}\n".encode()))
        append_line(self.path, text)

    def read(self) -> list[Line]:
        """All measurements; a last line cut short by a crash is left out.

        Raises:
            RunError: If a line other than the last is broken; Damaged if any number is not as it was written.
        """
        if not self.path.exists():
            return []
        try:
            texts = self._sound().split(b"\n")
        except OSError as error:
            raise RunError(f"{self.path}: cannot be read ({error.strerror})") from error
        lines: list[Line] = []
        for number, text in enumerate(texts, 1):
            if not text.strip():
                continue
            try:
                lines.append(_line(text))
            except (ValueError, RecursionError) as error:
                if not b"".join(texts[number:]).strip():
                    break
                raise RunError(
                    f"{self.path}, line {number}: no measurement ({str(error)[:80]}); the file was changed by hand?"
                ) from error
        return lines

    def text(self) -> str:
        """All of it, as it was written."""
        return self._sound().decode("utf-8") if self.path.exists() else ""

    def restore(self, text: str) -> bool:
        """Make it `text`, as it was at a checkpoint; whether it had been damaged."""
        broken = False
        try:
            self.text()
        except (Damaged, OSError, UnicodeDecodeError):
            broken = True
        wanted = text.encode()
        if broken or not self.path.exists() or self.path.read_bytes() != wanted:
            write_text(self.path, text, self.path.parent)
        elif noted(self.path.parent, self.path)[-1:] not in ([], [digest(wanted)]):
            note(self.path.parent, self.path, digest(wanted))  # a kill came before the line that was announced last
        return broken

    def _sound(self) -> bytes:
        """The file's whole lines, checked; what a crash left behind the last one is cut off.

        A file that only grows has had all its beginnings, and their digests are noted. Sound is the last one noted, and
        the one before, in case a kill came between the note and the line; a shorter beginning is a file cut short.
        """
        first = _last_but_one(noted(self.path.parent, self.path))
        data = self.path.read_bytes()
        known = noted(self.path.parent, self.path)[first:]  # and what a process that works on the run adds meanwhile
        whole = data[: data.rfind(b"\n") + 1]
        if not known or digest(data) in known:
            return data
        if digest(whole) in known:
            return whole
        raise damaged(self.path)

    def rewind(self, epoch: float, inclusive: bool) -> None:
        """Forget what was measured after `epoch` (and, unless `inclusive`, at it): the run goes on from there."""
        lines = [line for line in self.read() if line["epoch"] < epoch or (inclusive and line["epoch"] == epoch)]
        kept = [json.dumps(line, allow_nan=False) for line in lines]
        write_text(self.path, "".join(text + "\n" for text in kept), self.path.parent)


def _last_but_one(digests: list[str]) -> int:
    """The place of the last digest that is not the newest one; 0 if there is none."""
    return max((place for place, found in enumerate(digests) if found != digests[-1]), default=0)


def _line(text: bytes) -> Line:
    """One measurement; ValueError if it is none."""
    line = finite(json.loads(text.decode("utf-8")))
    json.dumps(line, ensure_ascii=False).encode()  # half a character is a ValueError, too
    if not isinstance(line, dict):
        raise ValueError("expected a JSON object")
    epoch, split = line.get("epoch"), line.get("split")
    if isinstance(epoch, bool) or not isinstance(epoch, int | float) or not 0 <= epoch < MOST_EPOCHS:
        raise ValueError(f"epoch: expected a number, got {str(epoch)[:20]!r}")
    if split not in ("train", "test"):
        raise ValueError(f"split: expected train or test, got {str(split)[:20]!r}")
    wrong = [name for name, value in line.items() if isinstance(value, list | bool)]
    if wrong:
        raise ValueError(f"{wrong[0][:40]}: expected a number")
    return line


def final_accuracy(run: Path) -> float | None:
    """The solver's accuracy at the last measurement of the held-out panel: what a sweeper that searches maximises.

    Raises:
        RunError: If the trajectory is broken.
    """
    path = run / "trajectory.jsonl"
    held_out = [line for line in Trajectory(path).read() if line["split"] == "test"]
    if not held_out:
        return None
    found = held_out[-1].get("solver_accuracy")
    if found is not None and not isinstance(found, int | float):
        raise RunError(f"{path}: its last solver_accuracy is no number; the file was changed by hand?")
    return found
