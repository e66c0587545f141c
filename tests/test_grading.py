import json
import time

import pytest

from sivgap.grading.equal import DEADLINE, comparer
from sivgap.grading.extract import final_number, last_boxed, strict_gsm8k
from sivgap.grading.grade import grade
from sivgap.grading.number import to_fraction

ARGUED = {
    # math-verify compares formally: these differ by a factor of r_0 that the physics problem takes as given.
    r"$\frac{v_{0}}{r_{0}} \frac{1}{\left(1+r / r_{0}\right)^{3 / 2}}$",
    # The gold is a paragraph whose answer (28 %) is stated in words; no rule reads it without reading others wrongly.
    r"If its initial value was $x$, after Monday, its value is $.9x$, and after a further $20\%$ loss, its value beco",
    # 'i' is a variable to math-verify unless the gold says otherwise; taking it for sqrt(-1) breaks indices i.
    "1+2i",
}
"""Pairs of ../shared/data/grading where we differ from their projects' tests, each with the reason."""


@pytest.fixture(scope="module")
def answers():
    with comparer() as opened:
        yield opened


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_pairs_from_six_projects_are_graded_as_they_expect(shared, answers):
    pairs = lines(shared / "grading" / "pairs.jsonl")
    found = answers.equal([(p["gold"], p["pred"]) for p in pairs])
    differing = {p["pred"][:110] for p, equal in zip(pairs, found, strict=True) if equal != p["equal"]}
    assert differing == {text[:110] for text in ARGUED}


def test_answers_are_read_as_a_person_reads_them_and_strict_is_lm_evaluation_harness(shared):
    for case in lines(shared / "grading" / "gsm8k_extraction.jsonl"):
        read, human = final_number(case["output"]), case["human"]
        assert (read is None) == (human is None), case
        assert read is None or to_fraction(read) == to_fraction(human), case
        strict = strict_gsm8k(case["output"])
        cleaned = "[invalid]" if strict is None else strict.replace(",", "").rstrip(".")
        assert cleaned == case["strict"].replace(",", "").rstrip("."), case


def test_strict_and_flexible_stand_side_by_side():
    graded = grade("gsm8k", ["#### 18", "The answer is 18.", "#### 17", "none"], ["18"] * 4, None)
    assert [(g.correct, g.correct_strict) for g in graded] == [
        (True, True), (True, False), (False, False), (False, False)]  # fmt: skip


def test_math_is_equal_up_to_form(answers):
    responses = [r"So \boxed{\frac{2}{4}}.", r"It is $0.5$", r"\boxed{\frac13}", ""]
    graded = grade("math", responses, [r"\frac{1}{2}"] * 4, answers)
    assert [g.correct for g in graded] == [True, True, False, False]
    assert [g.correct_strict for g in graded] == [True, False, False, False]


HOSTILE = [
    "9^{9^{9^9}}", "9**9**9**9", "((((9!)!)!)!)!", "99999999!", "2^{99999999}", "{" * 10**6, r"\boxed{" * 10**5,
    "1" * 10**6, r"\frac{1}{" * 29 + "1" + "}" * 29, "(x+1)^{9000}(x-1)^{9000}", r"\sqrt{" * 10**5,
    r"\int_0^{9999} \frac{x^{999}}{1+x^{998}}dx", "\x00\x1b[31m42", "∞" * 1000, "[" * 10**6, "$" * 10**5, "-" * 10**6,
    "1,1" * 10**5, "####" * 10**5, "answer " * 10**5,
]  # fmt: skip


@pytest.mark.parametrize("dataset", ["gsm8k", "math", "arithmetic"])
def test_hostile_answers_are_graded_within_the_deadline_and_harm_nothing(dataset, answers):
    for text in HOSTILE:
        for response in (text, rf"\boxed{{{text}}}"):
            started = time.monotonic()
            assert not grade(dataset, [response], ["7"], answers)[0].correct
            assert time.monotonic() - started < 2 * DEADLINE + 5
    assert answers.equal([("1/2", "0.5"), ("7", "8")]) == [True, False]  # the workers live


def test_last_boxed_balances_braces():
    assert last_boxed(r"\boxed{1} \boxed{\frac{a}{b}} end") == r"\frac{a}{b}"
    assert last_boxed(r"\boxed{never closed") is None
    assert last_boxed("nothing") is None


def test_the_command_grades_a_file(command, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"response": "#### 7", "reference": "7", "mine": [1]}\n')
    done = command("grade", "file=in.jsonl", "out=out.jsonl", "dataset=gsm8k")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "out.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text()) == {
        "response": "#### 7", "reference": "7", "mine": [1], "answer": "7", "correct": True, "correct_strict": True,
    }  # fmt: skip
    (tmp_path / "in.jsonl").write_text('{"response": "#### 7", "reference": "7"}\n{"response": 7}\n')
    done = command("grade", "file=in.jsonl", "out=bad.jsonl")
    assert done.returncode == 1
    assert "line 2" in done.stderr
    assert not (tmp_path / "bad.jsonl").exists()
