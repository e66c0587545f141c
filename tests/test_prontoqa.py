import json
import re
import time
from collections import Counter

import pytest
from commands import run_command

from sivgap.config.dataset import DatasetConfig
from sivgap.config.locate import read_prompt
from sivgap.errors import RunError
from sivgap.grading.truth import find_truth
from sivgap.tasks.grade import forms_of, grade
from sivgap.tasks.load import load_dataset
from sivgap.tasks.prontoqa import HOPS, PROPERTIES, generate, part_of, to_problem
from sivgap.tasks.source import read_problems
from sivgap.tasks.task import task_of

COUNT = 500
"""Problems of each number of hops."""


def parsed(sentence: str) -> tuple[str, str, bool]:
    """Of ``Yumpuses are not red`` what it is of, what it says of it, and whether that holds."""
    if match := re.fullmatch(r"(?:Every|Each) (\w+us) is (not )?(?:an? )?(\w+)", sentence):
        return match[1], match[3], match[2] is None
    if match := re.fullmatch(r"(\w+us)es are (not )?(\w+)", sentence):
        return match[1].lower(), re.sub(r"uses$", "us", match[3]), match[2] is None
    match = re.fullmatch(r"([A-Z][a-z]+) is (not )?(?:an? )?(\w+)", sentence)
    assert match, sentence
    return match[1], match[3], match[2] is None


def steps_to(question: str, asked: str) -> tuple[bool, int]:
    """Whether what is asked follows or its opposite does, and after how many rounds of forward chaining."""
    context, _, query = question.partition("\nTrue or false: ")
    said = [parsed(sentence) for sentence in context.removesuffix(".").split(". ")]
    name, wanted, positive = parsed((asked or query).removesuffix("."))
    known = {(what, holds): 0 for of, what, holds in said if of == name}
    while (wanted, True) not in known and (wanted, False) not in known:
        before = dict(known)
        for of, what, holds in said:
            if (of, True) in before:
                known.setdefault((what, holds), before[of, True] + 1)
        assert len(known) > len(before), question
    assert not {(wanted, True), (wanted, False)} <= known.keys()
    return (wanted, positive) in known, known.get((wanted, True), known.get((wanted, False), 0))


@pytest.fixture(scope="module")
def problems():
    return {hops: generate(COUNT, "train", 0, [hops]) for hops in HOPS}


@pytest.mark.parametrize("hops", HOPS)
def test_forward_chaining_agrees_with_every_reference_in_as_many_steps_as_there_are_hops(problems, hops):
    for problem in problems[hops]:
        assert steps_to(problem.question, "") == (problem.reference == "True", hops)
        assert problem.id.startswith(f"train/{hops}-hop/")


@pytest.mark.parametrize("hops", HOPS)
def test_nothing_but_the_deduction_tells_the_answer(problems, hops):
    """Every cue of the text leaves both answers as likely, within four standard errors."""
    cues = Counter()
    for problem in problems[hops]:
        context, _, query = problem.question.partition("\nTrue or false: ")
        name, wanted, positive = parsed(query.removesuffix("."))
        said = context.removesuffix(".").split(". ")
        about = [parsed(sentence)[2] for sentence in said if parsed(sentence)[1] == wanted]
        fact = next(i for i, sentence in enumerate(said) if sentence.startswith(f"{name} "))
        places = [i for i, sentence in enumerate(said) if parsed(sentence)[1] == wanted]
        nearest = parsed(said[min(places, key=lambda i: (abs(i - fact), i))])[2]
        right = problem.reference == "True"
        assert sorted(about) == [False, True]
        cues["answer"] += right
        cues["not in the question"] += right == positive
        cues["parity of not"] += right == (problem.question.count(" not ") % 2 == 0)
        cues["many not"] += right == (context.count(" not ") > len(said) / 4)
        cues["first mention"] += right == (about[0] == positive)
        cues["last mention"] += right == (about[-1] == positive)
        cues["name first"] += right == (fact < places[0])
        if hops > 1:
            cues["nearest mention"] += right == (nearest == positive)
    assert all(abs(count - COUNT / 2) < 4 * (COUNT / 4) ** 0.5 for count in cues.values()), cues
    assert cues["answer"] == cues["not in the question"] == COUNT / 2


def test_the_same_question_about_the_other_member_has_the_opposite_answer(problems):
    for problem in problems[3][:100]:
        context, _, query = problem.question.partition("\nTrue or false: ")
        name = query.split()[0]
        (other,) = set(re.findall(r"\b([A-Z]\w+) is an? ", context)) - {name}
        assert steps_to(problem.question, query.replace(name, other)) == (problem.reference == "False", 3)


def test_hops_answers_and_negations_are_balanced_in_every_20_problems():
    made = generate(100, "test", 5)
    for start in range(0, 100, 20):
        kinds = Counter(
            (p.id.split("/")[1], p.reference, " is not " in p.question.split("\n")[1]) for p in made[start:][:20]
        )
        assert len(kinds) == 20


def test_problems_follow_the_seed_are_distinct_and_nested_in_their_number():
    made = generate(300, "train", 3)
    assert made == generate(300, "train", 3)
    assert made[:70] == generate(70, "train", 3)
    other = generate(300, "train", 4)
    assert len({p.question for p in made + other}) == len({p.id for p in made + other}) == 600
    assert generate(0, "train", 0) == []
    assert generate(2, "test", 0)[0].id == "test/2-hop/c1e9baaad516"  # ids are for good: randomness is keyed by them


def test_a_problem_is_in_one_part_by_a_hash_of_its_question():
    parts = {part: generate(400, part, 0) for part in ("train", "test")}
    for part, made in parts.items():
        assert {part_of(p.question) for p in made} == {part}
    assert not {p.question for p in parts["train"]} & {p.question for p in parts["test"]}


def test_each_sentence_of_a_solution_is_one_deduction_of_what_stands_before(problems):
    for hops, made in problems.items():
        for problem in made[:100]:
            context, _, query = problem.question.partition("\nTrue or false: ")
            said = context.removesuffix(".").split(". ")
            fact, *steps, end = problem.solution.removesuffix(".").split(". ")
            assert fact in said
            assert len(steps) == hops
            before = parsed(fact)
            for step in steps:
                rule, _, conclusion = step.partition(", so ")
                assert rule in said
                of, what, holds = parsed(rule)
                assert (of, True) == before[1:]
                before = parsed(conclusion)
                assert before == (fact.split()[0], what, holds)
            name, wanted, positive = parsed(query.removesuffix("."))
            assert before[:2] == (name, wanted)
            assert end == f"The answer is {before[2] == positive}"
            assert "\n" not in problem.solution  # an empty line would end a few-shot example


def test_properties_of_one_kind_never_meet(problems):
    for problem in problems[5][:200]:
        assert all(sum(f" {word}." in problem.question.split("\n")[0] for word in group) <= 1 for group in PROPERTIES)


def test_a_problem_as_a_person_reads_it():
    problem = generate(3, "test", 0)[2]
    assert problem.question == (
        "Every brimpus is liquid. Each impus is transparent. Every yumpus is not liquid. Each gorpus is a brimpus. "
        "Stella is a gorpus. Impuses are yumpuses. Alex is an impus. Gorpuses are not transparent.\n"
        "True or false: Alex is transparent."
    )
    assert problem.solution == (
        "Alex is an impus. Each impus is transparent, so Alex is transparent. The answer is True."
    )


def test_solutions_are_right_and_the_other_answer_is_wrong(problems):
    made = [problem for hops in HOPS for problem in problems[hops][:100]]
    references = [p.reference for p in made]
    assert all(g.correct and g.correct_strict for g in grade("prontoqa", [p.solution for p in made], references, None))
    other = {"True": "False", "False": "True"}
    swapped = [re.sub(r"\w+\.$", other[p.reference] + ".", p.solution) for p in made]
    assert not any(g.correct or g.correct_strict for g in grade("prontoqa", swapped, references, None))


T, F = True, False
SAID = {
    # what a response says, and whether in the form asked for (where it is right)
    "Max is a yumpus. So Max is red. The answer is True.": (T, True),
    "The answer is False.": (F, True),
    "Max is red.\n\nThe answer is **true**.": (T, True),
    "Therefore, the answer is False": (F, True),
    "The final answer is True.": (T, True),
    "Answer: false": (F, False),
    "**Answer:** True. Each yumpus is red.": (T, False),
    "So it is\n\\boxed{\\text{False}}": (F, False),
    "The answer is $\\boxed{True}$.": (T, False),
    "#### False": (F, False),
    "<answer>True</answer>": (T, False),
    "True": (T, False),
    "FALSE.": (F, False),
    "True. Max is a yumpus, and yumpuses are red.": (T, False),
    "Max is a yumpus. So the statement is false.": (F, False),
    "Since it is true that Max is a yumpus, the statement is false.": (F, False),
    "So the statement is not true.": (F, False),
    "It isn't false.": (T, False),
    "The answer is True.\nWait, no. Max is a wumpus, so it is False.": (F, False),
    "The answer is True.\nOops.\nThe answer is False.": (F, True),
    "Suppose it is false.\nThe answer is True.": (T, True),
    "<think>The answer is False.</think>The answer is True.": (T, True),
    "False, maybe?</think>\nThe answer is True.": (T, True),
    "The answer is True.\n\nQuestion: Every wumpus is red.\nSolution: The answer is False.": (T, True),
    "True or false: Max is red. Max is a yumpus.\nThe answer is False.": (F, True),
    "The answer is True.\n\nRex is a jompus.\nTrue or false: Rex is red.\nThe answer is False.": (T, False),
    "What is the answer: True or false? Max is a yumpus.\nThe answer is False.": (F, True),
    # nothing, or both
    "": None,
    "<think>The answer is True.</think>": None,
    "<think>The answer is True.": None,
    "The answer is True or False.": None,
    "The answer is True and False.": None,
    "The answer is False.\nThe answer is True/False.": None,
    "\\boxed{True, False}": None,
    "True or false: Max is red.": None,
    "The answer is neither true nor false.": None,
    "The answer is True. Oops, I made a mistake.": None,
    "The answer is not necessarily true.": None,
    "The answer cannot be determined; it may be true.": None,
    "It is true that Max is a yumpus. Yumpuses are red": None,
    "The answer is": None,
    "Max is red.": None,
    "The answer is untrue, trueish or falsehood.": None,
    "True\nFalse\nTrue or False": None,
}


@pytest.mark.parametrize("response", SAID)
def test_what_a_response_says(response):
    says = SAID[response]
    for reference in ("True", "False"):
        (found,) = grade("prontoqa", [response], [reference], None)
        if says is None:
            assert (found.answer, found.correct, found.correct_strict, found.key) == (None, False, False, None)
        else:
            right = str(says[0]) == reference
            assert (found.answer, found.key) == (str(says[0]), f"={says[0]}")
            assert (found.correct, found.correct_strict) == (right, right and says[1])


def test_strict_asks_for_the_form_of_the_prompt():
    responses = ["\\boxed{True}", "The answer is True.", "Answer: True", "The answer is True, since Max is red."]
    for forms, strictly in (
        (("boxed",), [T, F, F, F]),
        (("answer_sentence",), [F, T, F, F]),
        (("answer_line",), [F, F, T, F]),
    ):
        grades = grade("prontoqa", responses, ["True"] * 4, None, forms)
        assert all(g.correct for g in grades)
        assert [g.correct_strict for g in grades] == strictly


HOSTILE = [
    "True " * 10**4, "True or " * 10**4, "not " * 10**4 + "true?", "The answer is\n" * 10**4, "answer is " * 10**4,
    r"\boxed{" * 10**4, "so " * 10**4, "wait, no. " * 10**4, "[" * 10**5, "\n" * 10**5, "a" * 10**5, "**" * 10**4,
    "\x00\x1b[31m", "Answer:" * 10**4, "cannot be " * 10**4,
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_hostile_text_costs_no_time_and_is_not_right(place):
    started = time.process_time()  # the machine may be busy
    for text in (HOSTILE[place] + "\nTrue or False?", HOSTILE[place] + HOSTILE[place][::-1]):
        grade("prontoqa", [text], ["True"], None)
        assert not grade("prontoqa", [text], [text[:100]], None)[0].correct_strict
    assert find_truth(HOSTILE[place] + "\nTrue or False?")[0] is None
    assert time.process_time() - started < 2


def test_records_of_a_file_are_read():
    question = "Max is a yumpus. Yumpuses are red.\nTrue or false: Max is red."
    for answer in ("True", "true", " TRUE. ", True, "Yumpuses are red. The answer is True."):
        problem = to_problem({"question": question, "answer": answer})
        assert (problem.question, problem.reference, problem.solution) == (question, "True", None)
    assert to_problem({"question": question, "reference": "False", "id": 7, "solution": "No."}).id == "7"


BROKEN = {
    "no question": ({"answer": "True"}, "'question'"),
    "no answer": ({"question": "?"}, "'answer'"),
    "a number": ({"question": "?", "answer": 1}, "text"),
    "neither": ({"question": "?", "answer": "red"}, "True or False"),
    "both": ({"question": "?", "answer": "True or False"}, "True or False"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_record_is_an_error_with_its_line(tmp_path, kind):
    record, reason = BROKEN[kind]
    (tmp_path / "data.jsonl").write_text(json.dumps(record))
    with pytest.raises(RunError, match=f"line 1: .*{reason}"):
        read_problems(tmp_path / "data.jsonl", to_problem)


def test_sizes_and_examples_are_taken_from_their_own_part():
    config = DatasetConfig(name="prontoqa", train_size=20, test_size=10, prompt="base/solve_prontoqa.txt", few_shot=4)
    loaded = load_dataset(config)
    assert (len(loaded.train), len(loaded.test), len(loaded.examples)) == (20, 10, 4)
    assert {part_of(p.question) for p in (*loaded.train, *loaded.examples)} == {"train"}
    assert {part_of(p.question) for p in loaded.test} == {"test"}
    assert not {p.id for p in loaded.examples} & {p.id for p in loaded.train}
    whole = load_dataset(DatasetConfig(name="prontoqa", prompt="chat/solve_prontoqa.txt"))
    assert (len(whole.train), len(whole.test), len(whole.examples)) == (2048, 512, 0)


@pytest.mark.parametrize("kind", ["chat", "base"])
def test_both_prompts_ask_for_the_sentence(kind):
    prompt = f"{kind}/solve_prontoqa.txt"
    assert read_prompt(prompt).count("{question}") == 1
    for few_shot in (0, 2):
        config = DatasetConfig(name="prontoqa", train_size=4, test_size=2, prompt=prompt, few_shot=few_shot)
        assert forms_of(config, load_dataset(config).examples) == ("answer_sentence",)


def test_a_file_of_responses_is_graded(tmp_path):
    rows = [("So Max is red. The answer is True.", "True"), ("It is false.", "false"), ("True or false?", "True")]
    text = "".join(json.dumps({"response": said, "reference": reference}) + "\n" for said, reference in rows)
    (tmp_path / "in.jsonl").write_text(text)
    done = run_command(tmp_path, "grade", "file=in.jsonl", "out=out.jsonl", "dataset=prontoqa", "explain=true")
    assert done.returncode == 0, done.stderr
    graded = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(g["answer"], g["correct"], g["correct_strict"], g["rule"]) for g in graded] == [
        ("True", True, True, '"answer is"'), ("False", True, False, "last sentence"), (None, False, False, None),
    ]  # fmt: skip


def test_references_that_nobody_can_read_are_named():
    task = task_of("prontoqa")
    assert [task.unreadable(said) for said in ("True", "false.", "Max is red. The answer is True.")] == [None] * 3
    for said in ("red", "True or False", ""):
        assert "expected True or False" in task.unreadable(said)
