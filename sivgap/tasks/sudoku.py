"""4x4 sudoku, generated: one minimal puzzle for each of the 288 complete grids (MG; verifying is easier than solving).

A grid is a text of 16 digits, row by row; 0 is an empty cell. There are few enough complete grids to know them all, so
a puzzle's solutions are found by looking. Renaming the digits makes 12 classes of 24 grids; a class is wholly in the
training part or wholly in the test part, so that no held-out grid is a training grid under other names. Up to all
symmetries (rows, columns, bands, transposition as well) there are only two kinds of grid, told apart by their
intercalates; each gives one of its classes in four to the test part: 216 puzzles to train on, 72 held out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sivgap.core.problem import Problem
from sivgap.grading.equal import AnswerComparer
from sivgap.grading.forms import Form
from sivgap.grading.grade import Grade, grade_grids
from sivgap.grading.reference import unreadable_grid
from sivgap.tasks.source import Record, text_field
from sivgap.tasks.sudoku_steps import PEERS, worked_solution
from sivgap.tasks.task import Task

_HELD_OUT = 4
"""One class of grids in so many, of each kind, is held out."""


@cache
def complete_grids() -> tuple[str, ...]:
    """All 288 complete grids, in numerical order."""
    grids = [""]
    for cell in range(16):
        before = [peer for peer in PEERS[cell] if peer < cell]
        grids = [grid + digit for grid in grids for digit in "1234" if all(grid[i] != digit for i in before)]
    return tuple(grids)


def solutions(puzzle: str) -> list[str]:
    """All complete grids that keep the puzzle's clues, in numerical order."""
    cells = _cells(puzzle)[0]
    clues = cells > 0
    fitting = (_all_cells()[:, clues] == cells[clues]).all(axis=1)
    return [complete_grids()[i] for i in np.flatnonzero(fitting)]


def minimal_puzzle(grid: str, seed: int) -> str:
    """A puzzle whose only solution is `grid`, and that has several without any one of its clues.

    Clues are taken away in a random order, once each: what could not be spared then cannot be spared later.
    """
    puzzle = grid
    for cell in np.random.default_rng([seed, int(grid)]).permutation(16):
        without = puzzle[:cell] + "0" + puzzle[cell + 1 :]
        if len(solutions(without)) == 1:
            puzzle = without
    return puzzle


def part_of(grid: str) -> str:
    """``train`` (216 grids) or ``test`` (72): a fixed function of the complete grid."""
    return "test" if _renamed(grid) in _held_out_classes() else "train"


def generate(part: str, seed: int) -> list[Problem]:
    """The puzzles of one part, one for each of its grids; the id is the puzzle."""
    grids = [grid for grid in complete_grids() if part_of(grid) == part]
    return [_problem("", minimal_puzzle(grid, seed), grid) for grid in grids]


def to_problem(record: Record) -> Problem:
    """A record with ``puzzle`` and ``solution``, 16 digits each; the puzzle must have that one solution alone."""
    puzzle, solution = (text_field(record, name).strip() for name in ("puzzle", "solution"))
    for name, grid, digits in (("puzzle", puzzle, "0-4"), ("solution", solution, "1-4")):
        if not re.fullmatch(f"[{digits}]{{16}}", grid):
            raise ValueError(f"field {name!r}: expected 16 digits {digits}, row by row, got {grid[:60]!r}")
    found = solutions(puzzle)
    if len(found) != 1:
        raise ValueError(f"field 'puzzle': expected exactly one solution, {puzzle} has {len(found)}")
    if found != [solution]:
        raise ValueError(f"field 'solution': expected {found[0]}, the only solution of {puzzle}, got {solution}")
    return _problem(str(record.get("id", "")), puzzle, solution)


def _problem(identity: str, puzzle: str, solution: str) -> Problem:
    question = "\n".join(" ".join(puzzle[row : row + 4]) for row in range(0, 16, 4)).replace("0", "_")
    return Problem(identity or puzzle, question, solution, worked_solution(puzzle))


def intercalates(grid: str) -> int:
    """Pairs of rows and of columns that cross in two digits only; no symmetry of the sudoku changes their number."""
    pairs = [(i, j) for i in range(4) for j in range(i)]
    corners = [(grid[4 * a + c], grid[4 * a + d], grid[4 * b + c], grid[4 * b + d]) for a, b in pairs for c, d in pairs]
    return sum(w == z and x == y for w, x, y, z in corners)


@cache
def _held_out_classes() -> frozenset[str]:
    classes = sorted({_renamed(grid) for grid in complete_grids()}, key=lambda grid: (intercalates(grid), grid))
    kinds = {count: [grid for grid in classes if intercalates(grid) == count] for count in map(intercalates, classes)}
    return frozenset(grid for kind in kinds.values() for grid in kind[::_HELD_OUT])


def _renamed(grid: str) -> str:
    """The grid with its digits renamed so that the first row is 1 2 3 4: one name for each class."""
    return grid.translate(str.maketrans(grid[:4], "1234"))


@cache
def _all_cells() -> NDArray[np.uint8]:
    return _cells(*complete_grids())


def _cells(*grids: str) -> NDArray[np.uint8]:
    """Grids as numbers, (grids, 16)."""
    return np.frombuffer("".join(grids).encode(), dtype=np.uint8).reshape(-1, 16) - ord("0")


class Sudoku(Task):
    """Answers are complete grids."""

    form = "grid"
    examples_of_any_length = True

    def read(self, record: Record) -> Problem:
        return to_problem(record)

    def generate(self, part: str, count: int | None, seed: int) -> list[Problem]:
        return generate(part, seed)[:count]

    def grade(
        self, responses: Sequence[str], references: Sequence[str], comparer: AnswerComparer, forms: Sequence[Form]
    ) -> list[Grade]:
        return grade_grids(responses, references, forms)

    def unreadable(self, reference: str) -> str | None:
        return unreadable_grid(reference)
