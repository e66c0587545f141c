import json
import re
import time
from itertools import permutations, product

import numpy as np
import pytest
from commands import run_command
from local_models import save_model
from small_runs import lines

from sivgap.config.dataset import DatasetConfig
from sivgap.errors import RunError
from sivgap.grading.grids import last_grid, strict_grid
from sivgap.tasks.grade import grade
from sivgap.tasks.load import load_dataset
from sivgap.tasks.source import read_problems
from sivgap.tasks.sudoku import (
    complete_grids,
    generate,
    intercalates,
    minimal_puzzle,
    part_of,
    solutions,
    to_problem,
)
from sivgap.tasks.sudoku_steps import worked_solution

GRID = "1234341221434321"
ROWS = "1 2 3 4\n3 4 1 2\n2 1 4 3\n4 3 2 1"


def valid(grid: str) -> bool:
    """Rows, columns and boxes each hold four digits, written out again so as to share nothing with the generator."""
    rows = [grid[i : i + 4] for i in range(0, 16, 4)]
    columns = ["".join(row[i] for row in rows) for i in range(4)]
    boxes = [rows[r][c : c + 2] + rows[r + 1][c : c + 2] for r in (0, 2) for c in (0, 2)]
    return all(set(unit) == set("1234") for unit in (*rows, *columns, *boxes))


def renamings(grid: str) -> set[str]:
    return {grid.translate(str.maketrans("1234", "".join(digits))) for digits in permutations("1234")}


def symmetric(grid: str) -> set[str]:
    """All grids that rows, columns, bands, transposition and new names make of one."""
    orders = [(*a, *b) for a, b in product(((0, 1), (1, 0)), ((2, 3), (3, 2)))]
    orders += [(*order[2:], *order[:2]) for order in orders]
    moved = {"".join(grid[4 * r + c] for r in rows for c in columns) for rows in orders for columns in orders}
    moved |= {"".join(g[4 * c + r] for r in range(4) for c in range(4)) for g in moved}
    return {new for g in moved for new in renamings(g)}


@pytest.fixture(scope="module")
def problems():
    return {part: generate(part, 0) for part in ("train", "test")}


def test_there_are_288_complete_grids_and_each_is_valid():
    rows = ["".join(row) for row in permutations("1234")]
    brute = sorted(grid for grid in map("".join, product(rows, repeat=4)) if valid(grid))
    assert list(complete_grids()) == brute
    assert len(brute) == 288


def test_each_grid_has_a_puzzle_with_one_solution_and_no_clue_to_spare(problems):
    everything = [*problems["train"], *problems["test"]]
    assert sorted(p.reference for p in everything) == list(complete_grids())
    for problem in everything:
        puzzle = problem.id
        fitting = [
            grid
            for grid in complete_grids()
            if all(clue in ("0", digit) for clue, digit in zip(puzzle, grid, strict=True))
        ]
        assert fitting == solutions(puzzle) == [problem.reference]
        assert 4 <= 16 - puzzle.count("0") <= 6
        for cell in range(16):
            assert puzzle[cell] == "0" or len(solutions(puzzle[:cell] + "0" + puzzle[cell + 1 :])) > 1


def test_puzzles_follow_the_seed_and_nothing_else():
    assert generate("test", 3) == generate("test", 3)
    assert {p.id for p in generate("test", 3)} != {p.id for p in generate("test", 4)}
    assert [p.reference for p in generate("test", 3)] == [p.reference for p in generate("test", 4)]
    assert minimal_puzzle(GRID, 3) in {p.id for part in ("train", "test") for p in generate(part, 3)}


def test_no_held_out_grid_is_a_training_grid_under_other_names(problems):
    train, test = ({p.reference for p in problems[part]} for part in ("train", "test"))
    assert (len(train), len(test)) == (216, 72)
    assert not train & {new for grid in test for new in renamings(grid)}


def test_both_parts_hold_the_two_kinds_of_grid_in_the_same_proportion():
    kinds = [symmetric(complete_grids()[0])]
    kinds.append(symmetric(next(grid for grid in complete_grids() if grid not in kinds[0])))
    assert sorted(map(len, kinds)) == [96, 192]
    assert set().union(*kinds) == set(complete_grids())
    for kind in kinds:
        assert len({intercalates(grid) for grid in kind}) == 1
        assert sum(part_of(grid) == "test" for grid in kind) == len(kind) // 4


def units_of(cell: int) -> list[list[int]]:
    row, column = divmod(cell, 4)
    top, left = row // 2 * 2, column // 2 * 2
    corner = 4 * top + left
    return [list(range(4 * row, 4 * row + 4)), list(range(column, 16, 4)), [corner + i for i in (0, 1, 4, 5)]]


def test_every_step_of_a_worked_solution_is_forced_and_it_ends_in_the_grid(problems):
    for problem in problems["train"] + problems["test"]:
        grid, text = problem.id, problem.solution.split("\n")
        for line in text[: problem.id.count("0")]:
            row, column, digit, *seen = map(int, re.findall(r"\d", line))
            cell = 4 * (row - 1) + column - 1
            standing = {grid[i] for unit in units_of(cell) for i in unit} - {"0"}
            assert grid[cell] == "0"
            assert standing == set(map(str, seen)) == set("1234") - {str(digit)}
            grid = grid[:cell] + str(digit) + grid[cell + 1 :]
        assert grid == problem.reference
        assert text[problem.id.count("0")] == "The answer is"
        assert "".join(text[-4:]).replace(" ", "") == grid
        assert "" not in text  # an empty line would end a few-shot example


def test_the_steps_solve_every_minimal_puzzle_there_is_up_to_the_names_of_digits():
    count, masks = 0, np.arange(2**16)
    for grid in (grid for grid in complete_grids() if grid.startswith("1234")):
        unique = np.ones(2**16, dtype=bool)
        for other in set(complete_grids()) - {grid}:
            shared = sum(2**i for i in range(16) if grid[i] == other[i])
            unique &= (masks & ~shared) > 0
        spare = np.zeros(2**16, dtype=bool)
        for bit in 2 ** np.arange(16):
            spare |= (masks & bit > 0) & unique[masks & ~bit]
        for mask in np.flatnonzero(unique & ~spare):
            puzzle = "".join(digit if mask >> i & 1 else "0" for i, digit in enumerate(grid))
            assert strict_grid(worked_solution(puzzle)) == grid
            count += 1
    assert count == 3568


def test_the_worked_solution_as_a_person_reads_it():
    assert worked_solution("1204341221434321").split("\n") == [
        "Row 1, column 3: must be 3, because 1, 2 and 4 stand in its row, column or box.",
        "The answer is", "1 2 3 4", "3 4 1 2", "2 1 4 3", "4 3 2 1",
    ]  # fmt: skip
    problem = to_problem({"puzzle": "1204341221434321", "solution": GRID})
    assert problem.question == "1 2 _ 4\n3 4 1 2\n2 1 4 3\n4 3 2 1"


def test_solutions_are_graded_right_and_with_any_cell_changed_wrong(problems):
    for problem in problems["test"]:
        (right,) = grade("sudoku", [problem.solution], [problem.reference], None)
        assert (right.answer, right.correct, right.correct_strict) == (problem.reference, True, True)
    problem = problems["test"][0]
    rows = problem.solution.split("The answer is\n")[1]
    changed = [rows[:i] + digit + rows[i + 1 :] for i in range(0, 32, 2) for digit in "1234" if digit != rows[i]]
    responses = [problem.solution.replace(rows, other) for other in changed]
    grades = grade("sudoku", responses, [problem.reference] * len(responses), None)
    assert len(grades) == 48
    assert not any(g.correct or g.correct_strict for g in grades)


def test_the_shared_puzzles_are_read_solved_and_graded(shared):
    path = shared / "sudoku" / "puzzles_288.jsonl"
    read = read_problems(path, to_problem)
    assert sorted(p.reference for p in read) == list(complete_grids())
    grades = grade("sudoku", [p.solution for p in read], [p.reference for p in read], None)
    assert all(g.correct and g.correct_strict for g in grades)
    for problem in read:
        for cell in range(16):
            other = str(int(problem.reference[cell]) % 4 + 1)
            wrong = problem.reference[:cell] + other + problem.reference[cell + 1 :]
            assert not grade("sudoku", [wrong], [problem.reference], None)[0].correct


WRITTEN = {
    "asked for": f"Row 1, column 1: must be 1, because 2, 3 and 4 stand in its row.\nThe answer is\n{ROWS}",
    "end of line": f"The answer is\n{ROWS}\n",
    "one line": f"The answer is {GRID}.",
    "bare": GRID,
    "rows in a line": "1234 3412 2143 4321",
    "slashes": "The answer is 1234/3412/2143/4321",
    "lists": "The answer is [[1,2,3,4],[3,4,1,2],[2,1,4,3],[4,3,2,1]]",
    "lists by line": "[\n [1, 2, 3, 4],\n [3, 4, 1, 2],\n [2, 1, 4, 3],\n [4, 3, 2, 1]\n]",
    "bars": "| 1 | 2 | 3 | 4 |\n| 3 | 4 | 1 | 2 |\n| 2 | 1 | 4 | 3 |\n| 4 | 3 | 2 | 1 |",
    "markdown": "| 1 | 2 | 3 | 4 |\n|---|---|---|---|\n| 3 | 4 | 1 | 2 |\n| 2 | 1 | 4 | 3 |\n| 4 | 3 | 2 | 1 |",
    "boxes": "+-----+-----+\n| 1 2 | 3 4 |\n| 3 4 | 1 2 |\n+-----+-----+\n| 2 1 | 4 3 |\n| 4 3 | 2 1 |\n+-----+-----+",
    "unicode": "┌───┬───┐\n│1 2│3 4│\n│3 4│1 2│\n├───┼───┤\n│2 1│4 3│\n│4 3│2 1│\n└───┴───┘",
    "fenced": f"The answer is:\n```text\n{ROWS}\n```\nEvery row holds each digit.",
    "commas": ROWS.replace(" ", ", "),
    "tabs": ROWS.replace(" ", "\t").replace("\n", "\r\n"),
    "empty lines": f"The answer is\n\n{ROWS}".replace("\n", "\n\n"),
    "bold": "\n".join(f"**{row}**" for row in ROWS.split("\n")),
    "labels": "Row 1: 1 2 3 4\nRow 2: 3 4 1 2\nRow 3: 2 1 4 3\nRow 4: 4 3 2 1",
    "short labels": "- **R1**: 1234\n- **R2**: 3412\n- **R3**: 2143\n- **R4**: 4321",
    "LaTeX": r"\begin{bmatrix} 1 & 2 & 3 & 4 \\ 3 & 4 & 1 & 2 \\ 2 & 1 & 4 & 3 \\ 4 & 3 & 2 & 1 \end{bmatrix}",
    "array": "\\begin{array}{c}\\hline\n1&2&3&4\\\\\n3&4&1&2\\\\\\hline\n2&1&4&3\\\\\n4&3&2&1\\\\\\hline\\end{array}",
    "points": "1. 2. 3. 4.\n3. 4. 1. 2.\n2. 1. 4. 3.\n4. 3. 2. 1.",
    "puzzle first": f"The puzzle is\n1 2 _ _\n_ _ _ _\n_ _ _ 3\n_ 3 _ _\nand the answer is\n{ROWS}",
    "puzzle above": f"1 2 _ _\n_ _ _ _\n_ _ _ 3\n_ 3 _ _\n\n{ROWS}",
    "second thoughts": f"The answer is\n{ROWS.replace('4 3 2 1', '4 3 1 2')}\nNo, wait. The answer is\n{ROWS}",
    "more words": f"{ROWS}\nI checked 4 rows, 4 columns and 4 boxes.",
}  # fmt: skip


@pytest.mark.parametrize("way", WRITTEN)
def test_a_grid_is_read_however_it_is_written_and_strict_asks_for_the_format(way):
    (found,) = grade("sudoku", [WRITTEN[way]], [GRID], None)
    assert (found.answer, found.correct) == (GRID, True)
    assert found.correct_strict == (way in ("asked for", "end of line", "second thoughts"))


NOT_RIGHT = {
    "": None, "The answer is": None, "1 2 3 4": None, f"The answer is\n{ROWS[:-2]}": None, GRID + "1": None,
    "Row 1, column 1: must be 1.\n" * 16: None, "1, 2, 3 and 4\n" * 16: None,
    GRID.replace("4", "5"): GRID.replace("4", "5"),
    ROWS.replace("3", "_"): GRID.replace("3", "0"),
    f"{ROWS}\nor rather\n{ROWS.replace('1', '?')}": GRID.replace("1", "0"),
    "1..........2..34": "1000000000020034",
}  # fmt: skip


@pytest.mark.parametrize("response", NOT_RIGHT)
def test_what_is_no_complete_grid_is_not_right(response):
    (found,) = grade("sudoku", [response], [GRID], None)
    assert (found.answer, found.correct, found.correct_strict) == (NOT_RIGHT[response], False, False)


HOSTILE = [
    "1" * 10**6, "1 2 3 4\n" * 10**5, "[" * 10**6, "Row 1: " * 10**5, "The answer is\n" * 10**5, "_" * 10**6,
    "\n" * 10**6, "1\n" * 10**5, "\x00\x1b[31m1234", "１２３４\n" * 4, "a1" * 10**5, "\\hline" * 10**5, "| " * 10**5,
    "The answer is" + "\n1 2 3 4" * 10**5, "1.2.3.4." * 10**5,
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_hostile_text_costs_no_time_and_is_not_right(place):
    started = time.process_time()  # the machine may be busy
    for text in (HOSTILE[place], HOSTILE[place] + "\n" + HOSTILE[place][::-1]):
        assert last_grid(text) != GRID
        assert strict_grid(text) != GRID
        assert not grade("sudoku", [text], [GRID], None)[0].correct
        assert not grade("sudoku", [text], [text[:100]], None)[0].correct_strict
    assert time.process_time() - started < 2


BROKEN = {
    "short": ({"puzzle": "123", "solution": GRID}, "16 digits 0-4"),
    "a number": ({"puzzle": 1204341221434321, "solution": GRID}, "text"),
    "no solution given": ({"puzzle": GRID}, "'solution'"),
    "incomplete": ({"puzzle": GRID, "solution": GRID.replace("4", "0")}, "16 digits 1-4"),
    "two solutions": ({"puzzle": "1" + "0" * 15, "solution": GRID}, "has 72"),
    "none": ({"puzzle": "11" + "0" * 14, "solution": GRID}, "has 0"),
    "another": ({"puzzle": GRID, "solution": GRID.translate(str.maketrans("12", "21"))}, GRID),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_record_is_an_error_with_its_line(tmp_path, kind):
    record, reason = BROKEN[kind]
    (tmp_path / "data.jsonl").write_text(json.dumps(record))
    with pytest.raises(RunError, match=f"line 1: .*{reason}"):
        read_problems(tmp_path / "data.jsonl", to_problem)


def test_sizes_and_examples_are_taken_from_their_own_part():
    config = DatasetConfig(name="sudoku", train_size=20, test_size=10, prompt="base/solve_sudoku.txt", few_shot=4)
    loaded = load_dataset(config)
    assert (len(loaded.train), len(loaded.test), len(loaded.examples)) == (20, 10, 4)
    assert {part_of(p.reference) for p in (*loaded.train, *loaded.examples)} == {"train"}
    assert {part_of(p.reference) for p in loaded.test} == {"test"}
    assert not {p.id for p in loaded.examples} & {p.id for p in loaded.train}
    with pytest.raises(RunError, match="there are 72"):
        load_dataset(config.model_copy(update={"test_size": 100}))


def test_a_local_chat_model_trains_on_sudoku(tmp_path):
    folder = save_model(tmp_path / "model", "llama")
    done = run_command(
        tmp_path, "train", "model=llama32_3b", f"model.path={folder}", "dataset=sudoku", "dataset.train_size=12",
        "dataset.test_size=6", "dataset.few_shot=1", "sampling.max_new_tokens=24", "epochs=0.5", "n=2",
        "model.dtype=float32", "tracking.wandb.mode=disabled",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    last = lines(tmp_path / done.stdout.splitlines()[-1])[-1]
    assert (last["epoch"], last["n_prompts"], last["n_samples"]) == (0.5, 6, 2)
