import json
import time

import datasets
import pytest
from commands import run_command
from local_models import save_model
from small_runs import lines

from sivgap.config.dataset import DatasetConfig
from sivgap.errors import RunError
from sivgap.grading.short_answer import accepted_answers, normalise
from sivgap.tasks.grade import grade
from sivgap.tasks.load import load_dataset
from sivgap.tasks.nq_open import to_problem
from sivgap.tasks.source import read_problems

NAMES = {
    "question": "who wrote he ain't heavy he's my brother lyrics",
    "answer": ["Bobby Scott", "Bob Russell"],
}


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("The  Beatles!", "beatles"), ("an apple, a day", "apple day"), ("Theatre", "theatre"), ("U.S.", "us"),
        ("14 December 1972\nUTC", "14 december 1972 utc"), ('"The" Who?', "who"), ("rock-and-roll", "rockandroll"),
        ("A+", ""), ("Beyoncé", "beyoncé"), ("x = {1}", "x 1"), ("the a an", ""), ("", ""),
    ],
)  # fmt: skip
def test_the_normal_form_is_that_of_squad(text, form):
    assert normalise(text) == form


def test_a_record_keeps_all_its_answers_and_the_first_makes_the_solution():
    problem = to_problem(NAMES)
    assert accepted_answers(problem.reference) == NAMES["answer"]
    assert problem.solution == "The answer is Bobby Scott."
    assert to_problem({**NAMES, "answer": ["St. Paul's, D.C."]}).solution == "The answer is St. Paul's, D.C."
    odd = ["[1, 2]", 'say "yes"', "née\nO’Hara", "5"]
    assert accepted_answers(to_problem({**NAMES, "answer": odd}).reference) == odd
    for plain in ("Bobby Scott", "5", '{"a": 1}', "[1, 2]", "[", "null"):
        assert accepted_answers(plain) == [plain]


def test_every_question_of_the_development_set_is_read_and_its_answers_are_right(shared):
    problems = read_problems(shared / "nq_open" / "dev.jsonl", to_problem)
    assert len(problems) == 3610
    pairs = [(answer, p.reference) for p in problems for answer in json.loads(p.reference)]
    for written, strictly in (
        ("The answer is {}.", True), ("I am sure.\nThe answer is {}", True), ("{}", False), ("Answer: {}", False),
        ("**Answer:** {}. It is well known.", False), ("A: {}.\n\nIs it so?", False),
        (r"So the final answer is \boxed{{{}}}.", False),
    ):  # fmt: skip
        grades = grade("nq_open", [written.format(a) for a, _ in pairs], [reference for _, reference in pairs], None)
        assert all(g.correct and g.correct_strict == strictly for g in grades), written
    solutions = grade("nq_open", [p.solution for p in problems], [p.reference for p in problems], None)
    assert all(g.correct_strict for g in solutions)
    swapped = grade("nq_open", [p.solution for p in problems[1:]], [p.reference for p in problems[:-1]], None)
    assert sum(g.correct for g in swapped) < 5  # two seasons here, two goals there


RIGHT = [
    "The answer is Bob Russell", "the answer is: bob russell.", "Answer: Bobby Scott", "ANSWER = the Bobby Scott!",
    "The correct answer is **Bob Russell**.", "Bob Russell", "\n\nBob Russell\nQuestion: who else", "A: Bob Russell",
    "The answer is Bob Russell. He wrote it in 1969.", "The answer is unclear.\nThe answer is Bobby Scott.",
    "Answer:\nBobby Scott", r"It must be \boxed{Bobby Scott}", "The answer to the question is Bob Russell.",
    "First answer: nobody.\nSecond answer: Bobby   Scott", "Bob Russell. Born in 1914, he wrote many.",
]  # fmt: skip
WRONG = [
    "", "The answer is", "The answer is .", "The answer is Bob", "The answer is Bob Russell and Bobby Scott.",
    "The answer is Bob Russell.\nThe answer is John Lennon.", "I think that Bob Russell wrote it.", "Answer:",
    "John Lennon. Bob Russell", "the", "nobody\nBob Russell",
]  # fmt: skip


def test_answers_are_read_however_they_are_written_and_strict_asks_for_the_format():
    reference = to_problem(NAMES).reference
    right = grade("nq_open", RIGHT, [reference] * len(RIGHT), None)
    assert [r for r, g in zip(RIGHT, right, strict=True) if not g.correct] == []
    assert [r for r, g in zip(RIGHT, right, strict=True) if g.correct_strict] == [RIGHT[0], RIGHT[9]]
    wrong = grade("nq_open", WRONG, [reference] * len(WRONG), None)
    assert [r for r, g in zip(WRONG, wrong, strict=True) if g.correct or g.correct_strict] == []
    assert wrong[0].answer is None


def test_an_answer_without_a_normal_form_is_compared_as_it_stands():
    responses = ["The answer is A+.", "The answer is the.", "The answer is B+."]
    assert [g.correct_strict for g in grade("nq_open", responses, ['["A+"]'] * 3, None)] == [True, False, False]


HOSTILE = [
    "answer is " * 10**5, "Answer:" * 10**5, "The answer is " + "a. " * 10**5, "\n" * 10**6, "a" * 10**6,
    "\nThe answer is x" * 10**5, "**" * 10**5, r"\boxed{" * 10**5, "." * 10**6, "\x00\x1b[31m", "the " * 10**5,
    "[" * 10**5, "The answer is" + " " * 10**5 + "y", "! ? . " * 10**5,
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_hostile_text_costs_no_time_and_is_not_right(place):
    started = time.monotonic()
    for text in (HOSTILE[place], "Answer: " + HOSTILE[place], HOSTILE[place] + "\nThe answer is no."):
        (found,) = grade("nq_open", [text], ['["Bob Russell"]'], None)
        assert not found.correct
        assert len(found.answer or "") <= 20_000
        grade("nq_open", ["7"], [text], None)
    assert time.monotonic() - started < 2


BROKEN = {
    "a text": {"question": "who", "answer": "me"},
    "none": {"question": "who", "answer": []},
    "empty": {"question": "who", "answer": ["me", " "]},
    "numbers": {"question": "who", "answer": [7]},
    "missing": {"question": "who"},
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_record_is_an_error_with_its_line(tmp_path, kind):
    (tmp_path / "data.jsonl").write_text(json.dumps(BROKEN[kind]))
    with pytest.raises(RunError, match="line 1: field 'answer': expected a list of non-empty texts"):
        read_problems(tmp_path / "data.jsonl", to_problem)


def test_the_hub_holds_out_its_validation_split_and_other_tasks_their_test_split(monkeypatch):
    records = {
        "nq_open": {"question": "who", "answer": ["me"]},
        "gsm8k": {"question": "How many?", "answer": "#### 4"},
    }
    asked = []

    def load(hub_id, name, split, revision):
        asked.append((hub_id, name, split))
        return [records[hub_id]]

    monkeypatch.setattr(datasets, "load_dataset", load)
    for name in records:
        load_dataset(DatasetConfig(name=name, hub_id=name, hub_config="main", prompt="x"))
    assert asked == [
        ("nq_open", "main", "train"), ("nq_open", "main", "validation"),
        ("gsm8k", "main", "train"), ("gsm8k", "main", "test"),
    ]  # fmt: skip


def questions(folder, count):
    file = folder / "data.jsonl"
    records = [{"question": f"who is number {i}", "answer": [f"person {i}", "x" * (i % 9 + 1)]} for i in range(count)]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


def test_examples_are_drawn_from_all_questions_not_from_those_with_the_shortest_answers(tmp_path):
    records = [{"question": f"who {i}", "answer": [str(i) if i < 60 else f"person {i}"]} for i in range(600)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    loaded = load_dataset(DatasetConfig(name="nq_open", path=str(tmp_path / "data.jsonl"), prompt="x", few_shot=12))
    assert sum("person" in (p.solution or "") for p in loaded.examples) > 6


def test_a_local_base_model_trains_on_open_questions_with_the_protocol_of_mg(tmp_path):
    folder = save_model(tmp_path / "model", "qwen2")
    done = run_command(
        tmp_path, "train", "experiment=mg_protocol", "model=qwen2_7b", f"model.path={folder}", "dataset=nq_open",
        f"dataset.path={questions(tmp_path, 60)}", "dataset.train_size=6", "dataset.test_size=4", "epochs=0.5",
        "sampling.max_new_tokens=16", "n=4", "model.dtype=float32", "tracking.wandb.mode=disabled",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    last = lines(tmp_path / done.stdout.splitlines()[-1])[-1]
    assert (last["epoch"], last["n_prompts"], last["n_samples"]) == (0.5, 4, 4)


def test_the_command_grades_files_of_both_tasks(command, tmp_path):
    reference = json.dumps(NAMES["answer"])
    rows = {
        "nq_open": [("The answer is Bob Russell.", reference), ("Bob Russell", "Bob Russell"), ("me", reference)],
        "sudoku": [
            ("The answer is 1234341221434321", "1234341221434321"),
            ("none", "1234341221434321"),
            ("1", "4321341221431234"),
        ],
    }
    expected = {
        "nq_open": [(True, True), (True, False), (False, False)],
        "sudoku": [(True, False), *[(False,) * 2] * 2],
    }
    for name, pairs in rows.items():
        text = "".join(json.dumps({"response": r, "reference": ref}) + "\n" for r, ref in pairs)
        (tmp_path / "in.jsonl").write_text(text)
        done = command("grade", "file=in.jsonl", "out=out.jsonl", f"dataset={name}")
        assert done.returncode == 0, done.stderr
        out = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        assert [(row["correct"], row["correct_strict"]) for row in out] == expected[name]
