"""How a person solves a 4x4 sudoku: one forced cell a line.

Naked singles (a cell with one digit left) and hidden singles (a digit with one cell left) solve every 4x4 puzzle that
has one solution: found by going through all 3,568 x 24 minimal ones.
"""

from __future__ import annotations

from collections.abc import Iterator

_BOXES = [[r, r + 1, r + 4, r + 5] for r in (0, 2, 8, 10)]
UNITS: dict[str, list[list[int]]] = {
    "row": [list(range(4 * r, 4 * r + 4)) for r in range(4)],
    "column": [list(range(c, 16, 4)) for c in range(4)],
    "box": _BOXES,
}
"""The cells, 0 to 15, of each row, column and 2x2 box."""

PEERS = [
    sorted({i for units in UNITS.values() for unit in units if cell in unit for i in unit} - {cell})
    for cell in range(16)
]
"""For each cell the others of its row, column and box."""


def worked_solution(puzzle: str) -> str:
    """The solution as a text: a forced cell with its reason on each line, then ``The answer is`` and the grid."""
    lines, grid = [], puzzle
    for cell, digit, reason in steps(puzzle):
        lines.append(f"Row {cell // 4 + 1}, column {cell % 4 + 1}: must be {digit}, because {reason}.")
        grid = grid[:cell] + digit + grid[cell + 1 :]
    return "\n".join([*lines, "The answer is", *(" ".join(grid[row : row + 4]) for row in range(0, 16, 4))])


def steps(puzzle: str) -> Iterator[tuple[int, str, str]]:
    """Forced cells in the order they are filled: the cell, its digit, and why no other digit can stand there."""
    grid = puzzle
    while "0" in grid:
        cell, digit, reason = _next_step(grid)
        yield cell, digit, reason
        grid = grid[:cell] + digit + grid[cell + 1 :]


def _next_step(grid: str) -> tuple[int, str, str]:
    """The first cell that has one candidate left; where there is none, the first that alone can hold a digit."""
    candidates = {
        cell: [digit for digit in "1234" if all(grid[peer] != digit for peer in PEERS[cell])]
        for cell in range(16)
        if grid[cell] == "0"
    }
    for cell, digits in candidates.items():
        if len(digits) == 1:
            others = [digit for digit in "1234" if digit != digits[0]]
            return cell, digits[0], f"{others[0]}, {others[1]} and {others[2]} stand in its row, column or box"
    for cell, digits in candidates.items():
        for digit in digits:
            for name, units in UNITS.items():
                unit = next(unit for unit in units if cell in unit)
                if not any(digit in candidates.get(other, []) for other in unit if other != cell):
                    return cell, digit, f"no other cell of its {name} can be {digit}"
    raise ValueError(f"puzzle {grid}: no cell is forced; expected a puzzle with one solution")
