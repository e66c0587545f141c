"""What is fuzzed: functions that read texts of strangers, and what must hold of whatever they return.

Each target takes a source of randomness, makes one input, and gives it to the code. It returns whether the input was
read to its end; refusing it with one of sivgap's sentences is as good. Anything else that is raised is a crash. Where
all inputs are read, or all refused, only one half of a reader is tested, and the campaign says so.
"""

import json
import random
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import get_args

import hostile
import pyarrow
import yaml
from pyarrow import parquet

from sivgap.config.allocation import read_schedule
from sivgap.config.locate import conf_dir
from sivgap.config.verifier import VerifierConfig
from sivgap.cross import collect
from sivgap.dynamics.curves import SOLVER, VERIFIER
from sivgap.errors import ConfigError, RunError
from sivgap.grading.expression import answer_of
from sivgap.grading.extract import final_number, last_boxed
from sivgap.grading.forms import Form, in_form
from sivgap.grading.grids import last_grid, strict_grid
from sivgap.grading.limits import acceptable
from sivgap.grading.lm_eval import strict_match
from sivgap.grading.number import to_fraction
from sivgap.grading.short_answer import accepted_answers, matches, readings
from sivgap.grading.votes import vote_key
from sivgap.runs.load_curves import from_csv, from_run
from sivgap.runs.sweep_manifest import Sweep
from sivgap.runs.trajectory import Trajectory, final_accuracy
from sivgap.runtime.checksums import SUMS, digest, note
from sivgap.runtime.sanitize import no_formula, sanitize
from sivgap.tasks import arithmetic, gsm8k, math, nq_open, sudoku
from sivgap.tasks.grade import grade
from sivgap.tasks.source import read_problems
from sivgap.verifiers.parse import Parser, verdict_parser

Target = Callable[[random.Random], bool]
FOLDER = Path(tempfile.mkdtemp(prefix="sivgap-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))

NAMES = ["The Beatles", "J. R. R. Tolkien", "1969", "A+", "The The", "Köln", "Washington, D.C."]
MARKS = ["\nThe answer is ", " answer: ", "\nFinal answer is: ", " \\boxed{", "Answer to the question is "]
ODD = ["nan", "inf", "1e999", "", "x", "1" * 500, "1_0", "0x10", "True"]

RECORDS = {
    "gsm8k": (gsm8k.to_problem, {"question": "2 + 2?", "answer": "two and two <<2+2=4>>\n#### 4"}),
    "math": (math.to_problem, {"problem": "x?", "solution": "it is \\boxed{\\frac{1}{2}}", "answer": "1/2"}),
    "nq_open": (nq_open.to_problem, {"question": "who?", "answer": ["The Beatles", "Beatles"]}),
    "arithmetic": (arithmetic.to_problem, {"id": "a", "question": "1 + 1", "answer": "2"}),
    "sudoku": (sudoku.to_problem, {"puzzle": "1000" + "0030" + "0004" + "0200", "solution": "1342243142133124"}),
}
LINE = {
    "epoch": 0.5, "step": 4, "split": "test", "n_prompts": 8, "n_samples": 4, "solver_uncertainty": 1.5, "gap": 0.5,
    "verifier_uncertainty": 1.0, "solver_uncertainty_se": 0.1, "pass_at_k": {"1": 0.5}, "train_loss": None,
    "solver_accuracy": 0.5,
}  # fmt: skip


def answers(random_: random.Random) -> bool:
    """Everything that looks for an answer in a response."""
    response = hostile.text(random_)
    formal = [in_form(response, form) for form in get_args(Form)]
    for found in (final_number(response), last_boxed(response), strict_match(response), *formal):
        assert found is None or isinstance(found, str)
        if found is not None:
            to_fraction(found)
    for grid in (last_grid(response), strict_grid(response)):
        assert grid is None or (len(grid) == 16 and grid.isascii() and grid.isdigit())
    return final_number(response) is not None


def grades(random_: random.Random) -> bool:
    """Grading by rules; the reference is a stranger's as well."""
    dataset = random_.choice(["arithmetic", "gsm8k", "nq_open", "sudoku"])
    response, reference = hostile.text(random_), hostile.text(random_)
    (found,) = grade(dataset, [response], [reference], None)  # type: ignore[arg-type]
    assert found.correct in (True, False)
    assert not found.correct_strict or found.correct
    return found.answer is not None


def short_answers(random_: random.Random) -> bool:
    """Whether a response gives one of the answers that count; in half of them it does, more or less well written."""
    right = random_.choice([*NAMES, hostile.text(random_)[:80]])
    kind = random_.random()
    odd = json.dumps(hostile.value(random_)) if kind < 0.2 else hostile.text(random_)
    accepted = accepted_answers(odd if kind < 0.4 else json.dumps([hostile.text(random_)[:80], right]))
    said = hostile.text(random_)
    if random_.random() < 0.7:
        written = random_.choice([str, str.upper, str.lower, lambda t: f"the {t}.", lambda t: f"**{t}**"])(right)
        said += random_.choice(MARKS) + written + (random_.choice(["\n", ". ", ""]) + hostile.text(random_))[:200]
    return any(matches(answer, accepted) for answer in readings(said))


def expressions(random_: random.Random) -> bool:
    """What is given to the parser of mathematics, and what is kept from it."""
    found = hostile.text(random_)
    to_fraction(found[: random_.randrange(1, 60)])
    if not acceptable(found[-4000:]):
        return False
    vote_key(answer_of(found))
    return True


@cache
def parsers() -> list[Parser]:
    """Those of the shipped verifiers."""
    settings = [yaml.safe_load(path.read_text()) for path in sorted((conf_dir() / "verifier").glob("*.yaml"))]
    return [verdict_parser(VerifierConfig.model_validate(asked)) for asked in settings if asked.get("answers")]


def verdicts(random_: random.Random) -> bool:
    said = hostile.text(random_)
    found = [parse(said) for parse in parsers()]
    assert all(v is None or 0 <= v <= 1 for v in found)
    return any(v is not None for v in found)


def shown(random_: random.Random) -> bool:
    """What a terminal, a page or a spreadsheet is given; whether it could be shown as it was."""
    said = hostile.text(random_)
    found = sanitize(said)
    found.encode()
    assert not any((ord(c) < 32 and c not in "\t\n") or 0x7F <= ord(c) < 0xA0 for c in found)
    assert not set(found) & {"\u202e", "\u2066", "\u2028", "\ud800"}
    assert not no_formula(found).lstrip().startswith(("=", "+", "-", "@"))
    return found == said


def _refused(read: Callable[[], object]) -> bool:
    try:
        read()
    except (RunError, ConfigError) as error:
        said = str(error)
    else:
        return True
    assert len(said) < 1500, "a message longer than anyone reads"
    return False


def _written(name: str, data: bytes) -> Path:
    path = FOLDER / name
    path.write_bytes(data)
    return path


def datasets(random_: random.Random) -> bool:
    name = random_.choice(list(RECORDS))
    to_problem, record = RECORDS[name]
    path = _written("data.jsonl", hostile.json_lines(random_, record))

    def read() -> None:
        for problem in read_problems(path, to_problem):
            "".join([problem.id, problem.question, problem.reference, problem.solution or ""]).encode()

    return _refused(read)


def parquets(random_: random.Random) -> bool:
    """Damaged files, and whole ones with odd records in them."""
    name = random_.choice(list(RECORDS))
    to_problem, record = RECORDS[name]
    path = FOLDER / "data.parquet"
    clean = FOLDER / f"{name}.parquet"
    if not clean.exists():
        parquet.write_table(pyarrow.Table.from_pylist([{**record, "id": str(i)} for i in range(20)]), clean)
    odd = [hostile.changed(random_, record) if random_.random() < 0.3 else record for _ in range(4)]
    try:
        if random_.random() < 0.5:
            raise ValueError("damaged instead")
        parquet.write_table(pyarrow.Table.from_pylist(odd), path)
    except (ValueError, OverflowError, pyarrow.ArrowException):  # no such table can be written, either
        path.write_bytes(hostile.damaged(random_, clean.read_bytes()))
    return _refused(lambda: read_problems(path, to_problem))


def trajectories(random_: random.Random) -> bool:
    """Read, fitted, gone on with and gone back in; half of them have checksums."""
    lines = [{**LINE, "epoch": i / 2, SOLVER: 2 * 0.7**i, VERIFIER: 0.7**i} for i in range(random_.randint(2, 9))]
    lines = [hostile.changed(random_, line) if random_.random() < 0.07 else line for line in lines]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    (FOLDER / SUMS).unlink(missing_ok=True)
    path = _written("trajectory.jsonl", data)
    if random_.random() < 0.5:
        note(FOLDER, path, digest(data))
    if random_.random() < 0.4:
        path.write_bytes(hostile.damaged(random_, data))

    def read() -> None:
        found = Trajectory(path).read()
        json.dumps(found, allow_nan=False)
        from_run(FOLDER, "test", "response", "first")
        final_accuracy(FOLDER)
        Trajectory(path).rewind(1.0, inclusive=True)  # as a run does that goes on from there
        Trajectory(path).append({**LINE, "epoch": 1.5})
        kept = [line for line in found if line["epoch"] <= 1]
        assert [*kept, {**LINE, "epoch": 1.5}] == Trajectory(path).read()

    return _refused(read)


def tables(random_: random.Random) -> bool:
    """CSV files for a fit."""
    rows = [[f"{i / 2}", f"{2 * 0.7**i:.4f}", f"{0.7**i:.4f}", "a"] for i in range(random_.randint(0, 8))]
    for _ in range(random_.randrange(3)):
        if rows:
            row = random_.choice(rows)
            row[random_.randrange(4)] = random_.choice(ODD)
    names = ["epoch", "solver_uncertainty", "verifier_uncertainty", random_.choice(["run", hostile.text(random_)[:60]])]
    said = "\n".join(",".join(row) for row in ([names, *rows] if random_.random() < 0.9 else rows))
    data = said.encode("utf-8", "surrogatepass")
    path = _written("curves.csv", hostile.damaged(random_, data) if random_.random() < 0.4 else data)
    return _refused(lambda: from_csv(path, "response", "first"))


def own_files(random_: random.Random) -> bool:
    """JSON that sivgap itself wrote, damaged: a sweep's manifest, external responses, an allocation."""
    kind = random_.randrange(3)
    if kind == 0:
        job = {"identity": "a" * 16, "name": "seed=0", "overrides": ["seed=0"], "run": "r"}
        _written("sweep.json", hostile.damaged(random_, json.dumps({"typed_in": "/", "jobs": [job]}).encode()))
        return _refused(lambda: Sweep(FOLDER).progress())
    if kind == 1:
        data = hostile.json_lines(random_, {"problem_id": "a", "text": "t", "finished": True})
        return _refused(lambda: collect._read(_written("external.jsonl", data)))
    plan = {"plans": [{"name": "best", "eta": [0.1, 0.2]}]}
    data = hostile.damaged(random_, json.dumps(hostile.changed(random_, plan)).encode("utf-8", "surrogatepass"))
    try:
        read_schedule(_written("allocation.json", data))
    except ValueError:
        return False
    return True


TARGETS: dict[str, Target] = {
    "answers": answers, "grades": grades, "short_answers": short_answers, "expressions": expressions,
    "verdicts": verdicts, "shown": shown, "datasets": datasets, "parquets": parquets, "trajectories": trajectories,
    "tables": tables, "own_files": own_files,
}  # fmt: skip
