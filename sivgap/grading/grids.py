"""Reading a 4x4 sudoku grid from a response, however it is written; the last grid counts.

A grid's solution is the only completion of its puzzle (`sivgap.tasks.sudoku`), so to be a valid completion is to be
equal to it.
"""

from __future__ import annotations

import re

from sivgap.grading.reasoning import answer_part

_STRICT = re.compile(r"The answer is((?:\n[1-4] [1-4] [1-4] [1-4]){4})\s*\Z")
_NEW_ROW = re.compile(r"\\\\|\\hline|<br ?/?>|</tr>")
_LABEL = re.compile(r"(?im)^[^\w\n]{0,9}(?:row|r) ?[1-4][^\w\n]{1,9}(?=[0-9._?])")
_CELL = re.compile(r"[0-9._?]")


def strict_grid(response: str) -> str | None:
    """The 16 digits of a response that ends in ``The answer is`` and four lines such as ``1 2 3 4``."""
    match = _STRICT.search(answer_part(response))
    return re.sub(r"\s", "", match[1]) if match else None


def last_grid(response: str) -> str | None:
    """The last 16 cells that stand as a grid, as digits with 0 for an empty one (``0``, ``_``, ``.``, ``?``).

    A grid is lines of 4, 8 or 16 cells each with no letter among them; bars, brackets, commas, borders and empty lines
    in between do not matter, nor do labels such as ``Row 1:``. A grid with empty cells is read as well: whoever ends
    with one has given no solution, whatever stood before it.
    """
    text = _LABEL.sub("\n", _NEW_ROW.sub("\n", answer_part(response)))
    found = None
    for passage in re.split(r"[^\W\d_]+", text):
        found = _last_in(passage) or found
    return found


def _last_in(passage: str) -> str | None:
    """The last grid of a passage without letters."""
    lines = [cells for cells in map(_cells, passage.split("\n")) if cells]
    for end in range(len(lines), 0, -1):
        grid = ""
        for line in reversed(lines[:end]):
            if len(line) not in (4, 8, 16) or len(grid) >= 16:
                break
            grid = line + grid
        if len(grid) == 16:
            return re.sub(r"\D", "0", grid)
    return None


def _cells(line: str) -> str:
    """A line's cells. Marks for empty ones are punctuation where the digits alone make whole rows (``1. 2. 3. 4.``)."""
    cells = "".join(_CELL.findall(line))
    digits = re.sub(r"\D", "", cells)
    return digits if len(cells) != 16 and len(digits) in (4, 8, 16) else cells
