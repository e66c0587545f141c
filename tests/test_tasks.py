import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sivgap.errors import RunError
from sivgap.tasks import arithmetic, gsm8k, math
from sivgap.tasks.arithmetic_faults import fallible_solution
from sivgap.tasks.grade import grade
from sivgap.tasks.source import LONGEST_LINE, read_problems
from sivgap.tiny.texts import true_score

GOOD = {"question": "How many?", "answer": "2 and 2 is <<2+2=4>>4.\n#### 4"}


def test_the_parts_of_arithmetic_are_disjoint_and_the_train_part_is_nested_in_its_size():
    parts = {part: {p.question for p in arithmetic.generate(2000, part, 0)} for part in ("pretrain", "train", "test")}
    assert not parts["pretrain"] & parts["train"] | parts["train"] & parts["test"] | parts["pretrain"] & parts["test"]
    assert arithmetic.generate(50, "train", 0) == arithmetic.generate(100, "train", 0)[:50]


def test_worked_solutions_are_right_and_in_the_strict_format():
    problems = arithmetic.generate(3000, "test", 1)
    for problem in problems:
        value = eval(problem.question)
        assert problem.reference == str(value)
        assert 0 <= value <= arithmetic.LARGEST_VALUE
    grades = grade("arithmetic", [p.solution for p in problems], [p.reference for p in problems], None)
    assert all(g.correct and g.correct_strict for g in grades)


def test_fallible_solutions_are_marked_by_the_truth():
    rng = np.random.default_rng(0)
    stream = arithmetic.expressions(rng, "pretrain")
    right = 0
    for _ in range(2000):
        expression = next(stream)
        text, score, correct = fallible_solution(expression, rng)
        assert (score, correct) == true_score(expression, text)
        right += correct
    assert 0.4 < right / 2000 < 0.7


def test_gsm8k_and_math_records():
    problem = gsm8k.to_problem(GOOD)
    assert (problem.reference, problem.solution) == ("4", "2 and 2 is 4.\n#### 4")
    record = {"problem": "Find x.", "solution": r"So $\boxed{1}$ or rather $\boxed{\frac{1}{2}}$."}
    assert math.to_problem(record).reference == r"\frac{1}{2}"
    assert math.to_problem({"problem": "Find x.", "solution": r"It is \boxed 2 then."}).reference == "2"


def test_ids_come_from_the_question_not_from_the_place(tmp_path):
    other = {"question": "How much?", "answer": "#### 5"}
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, [GOOD, other, GOOD])))
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, [other, GOOD])))
    a, b = (read_problems(tmp_path / name, gsm8k.to_problem) for name in ("a.jsonl", "b.jsonl"))
    assert a[0].id == b[1].id
    assert len({p.id for p in a}) == 3


def test_parquet_and_json_lines_give_the_same_problems(tmp_path):
    (tmp_path / "a.jsonl").write_text("\ufeff" + json.dumps(GOOD) + "\n\n", encoding="utf-8")
    pq.write_table(pa.Table.from_pylist([GOOD]), tmp_path / "a.parquet")
    assert read_problems(tmp_path / "a.jsonl", gsm8k.to_problem) == read_problems(
        tmp_path / "a.parquet", gsm8k.to_problem
    )


BROKEN = {
    "broken": (json.dumps(GOOD).encode() + b"\n{nonsense\n", "line 2", "JSON"),
    "missing": (json.dumps({"question": "?"}).encode(), "line 1", "'answer'"),
    "no mark": (json.dumps({"question": "?", "answer": "4"}).encode(), "line 1", "#### NUMBER"),
    "not text": (json.dumps({"question": 3, "answer": "#### 4"}).encode(), "line 1", "text"),
    "empty": (b"", "no problems", "JSON object a line"),
    "list": (b"[1, 2]\n", "line 1", "object"),
    "latin-1": (json.dumps(GOOD).encode() + b'\n{"question": "\xe9t\xe9"}\n', "line 2", "UTF-8"),
    "utf-16": (json.dumps(GOOD).encode("utf-16"), "line 1", "UTF-8"),
    "deep": (b"[" * 200_000 + b"\n", "line 1", "JSON"),
    "50 MB": (b'{"question": "' + b"x" * 50_000_000 + b'"}\n', "line 1", f"{LONGEST_LINE // 2**20} MiB"),
    "twice": (b"\n".join(json.dumps({**GOOD, "id": "a"}).encode() for _ in range(2)), "'a'", "unique"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_an_error_with_its_line(tmp_path, kind):
    content, place, reason = BROKEN[kind]
    (tmp_path / "data.jsonl").write_bytes(content)
    with pytest.raises(RunError) as error:
        read_problems(tmp_path / "data.jsonl", gsm8k.to_problem)
    assert "data.jsonl" in str(error.value)
    assert place in str(error.value)
    assert reason in str(error.value)
    assert len(str(error.value)) < 500


def test_a_file_that_is_no_parquet_is_an_error(tmp_path):
    (tmp_path / "data.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(RunError, match=r"data\.parquet"):
        read_problems(tmp_path / "data.parquet", gsm8k.to_problem)
