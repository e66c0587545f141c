"""Grades that a careful person would give: of real answers, of many ways to write one, and of hostile texts."""

import json
import random
import time
from pathlib import Path

import pytest
from math_answers import golds, rights, wrongs

from sivgap.core.problem import Problem
from sivgap.grading.compare import equal_texts
from sivgap.grading.equal import DEADLINE, comparer
from sivgap.grading.expression import find_expression
from sivgap.grading.extract import final_number, find_number, last_boxed
from sivgap.grading.forms import asked_forms
from sivgap.grading.lm_eval import exact_match, flexible_extract, strict_match
from sivgap.grading.number import read_number, to_fraction
from sivgap.grading.reasoning import answer_part
from sivgap.grading.votes import vote_key
from sivgap.tasks.grade import grade
from sivgap.tasks.task import task_of

ARGUED = {
    # The gold is a paragraph that names 28 %, 100 and 72 %, and whose last sentence is cut off.
    r"If its initial value was $x$, after Monday, its value is $.9x$, and after a further $20\%$ loss, its value beco",
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
    assert differing <= {text[:110] for text in ARGUED}


def test_answers_as_real_models_write_them_are_graded_as_a_careful_person_would(shared, answers):
    cases = lines(shared / "grading" / "reality.jsonl")
    wrong = [
        case
        for case in cases
        if grade(case["dataset"], [case["response"]], [case["reference"]], answers)[0].correct != case["right"]
    ]
    assert wrong == []


def test_seven_hundred_ways_to_write_an_answer_are_graded_as_a_careful_person_would(answers):
    cases = lines(Path(__file__).parent / "data" / "answers.jsonl")
    wrong = []
    for dataset in ("gsm8k", "math", "nq_open"):
        own = [case for case in cases if case["dataset"] == dataset]
        grades = grade(dataset, [case["response"] for case in own], [case["reference"] for case in own], answers)
        wrong += [case for case, found in zip(own, grades, strict=True) if found.correct != case["right"]]
    assert len(cases) > 700
    assert wrong == []


def test_real_responses_are_graded_as_before_but_for_two_that_were_called_wrong(shared):
    cases = lines(shared / "grading" / "real_outputs.jsonl")
    grades = grade("gsm8k", [c["response"] for c in cases], [c["reference"] for c in cases], None)
    changed = [i for i, (c, g) in enumerate(zip(cases, grades, strict=True)) if g.correct != c["correct_at_87a75eb"]]
    # "Answer: 8 pens will cost $12.00." and "Answer: The average weight of the 3 friends is 180 pounds."
    assert changed == [825, 841]
    assert all(grades[i].correct for i in changed)


def test_numbers_are_read_as_a_person_reads_them_and_lm_evaluation_harness_to_the_letter(shared):
    for case in lines(shared / "grading" / "gsm8k_extraction.jsonl"):
        read, human = final_number(case["output"]), case["human"]
        assert (read is None) == (human is None), case
        assert read is None or to_fraction(read) == to_fraction(human), case
        assert (strict_match(case["output"]), flexible_extract(case["output"])) == (case["strict"], case["flexible"])


def test_lm_evaluation_harness_compares_texts():
    assert exact_match("18", "18")
    assert exact_match("1,234.", "so 1234 it is\n#### 1,234")
    assert not exact_match("2.0", "2")
    assert not exact_match("[invalid]", "2")


@pytest.mark.parametrize("seed", [0, 1])
def test_what_makes_an_answer_wrong_is_seen_and_what_leaves_it_right_is_not(seed):
    found = golds(500, seed)
    asked = [(gold.text, text, False) for gold in found for _, text in wrongs(gold) if text != gold.text]
    asked += [(gold.text, text, True) for gold in found for _, text in rights(gold)]
    differing = [(gold, text) for gold, text, equal in asked if equal_texts(gold, text) != equal]
    taken_as_right = [pair for pair in differing if (*pair, False) in asked]
    assert len(taken_as_right) <= 0.005 * sum(not equal for _, _, equal in asked), taken_as_right
    assert len(differing) - len(taken_as_right) <= 0.01 * sum(equal for _, _, equal in asked), differing


def test_equal_answers_have_one_key_and_others_have_others():
    apart, pairs = [], 0
    for gold in golds(300, 2):
        key = vote_key(gold.text)
        apart += [(gold.text, text) for _, text in rights(gold) if vote_key(text) != key]
        pairs += sum(1 for _ in rights(gold))
        assert [text for _, text in wrongs(gold) if text != gold.text and vote_key(text) == key] == []
    assert len(apart) <= 0.01 * pairs, apart  # such as y = 2x - 3 and 2x - 3, which only a comparison joins
    assert len({vote_key(text) for text in ("18", "18.", "18.00", "36/2", "$18$", "eighteen", "x = 18")}) == 1
    assert vote_key("Paris.") == vote_key("paris") != vote_key("Lyon")


EQUAL = [
    (r"\frac{1}{2}", "0.5", True),
    (r"\frac{1}{3}", "0.333333", True),
    (r"\frac{1}{3}", "0.333", False),
    (r"\frac{1}{3}", "0.333334", False),
    (r"\sqrt{2}", "1.41421356", True),
    (r"\sqrt{2}", "1.414", False),
    ("1+2i", "i(2-i)", True),
    ("2+3i", "2-3i", False),
    (r"50\%", "0.5", True),
    ("50", r"50\%", True),
    ("0.5", "50", False),
    ("(1,2)", r"\{1,2\}", False),
    ("(1,2)", "[1,2]", False),
    ("1,2", "2, 1", True),
    ("(1,2)", "(2,1)", False),
    (r"x \in [1/2, \infty)", r"x \ge \frac12", True),
    ("(3,5]", r"3 < x \le 5", True),
    ("(3,5]", r"3 \le x \le 5", False),
    (r"(-\infty,-2)\cup(2,\infty)", r"x<-2 \text{ or } x>2", True),
    ("y=2x+3", "2x-y+3=0", True),
    ("y=2x+3", "y=2x-3", False),
    ("x=5", "5", True),
    ("x=5", "y=5", False),
    (r"(x,y)=(1,2)", "(1,2)", True),
    ("(1,2)", "x=1, y=2", True),
    (r"\pm 3", "3, -3", True),
    (r"\pm 3", "3", False),
    (r"\text{(B)}", "B", True),
    (r"\text{(B)}", r"\text{(C)}", False),
    ("12:00", "12:30", False),
    ("3:30", r"3:30 \text{ p.m.}", True),
    ("204_5", r"204_{\text{five}}", True),
    ("204_5", "204", False),
    ("5!", "120", True),
    ("5", "5!", False),
    ("1234", "1,234", True),
    (r"10\,000", "10000", True),
    (r"2\frac12", "2.5", True),
    (r"|x-1|", "|1-x|", True),
    ("x", "|x|", False),
    (r"\log_2 8", "3", True),
    (r"\sin 30^\circ", r"\frac12", True),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}", True),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", False),
    (r"5\text{ cm}", r"5\text{ m}", False),
    (r"5\text{ cm}", r"5\text{ centimeters}", True),
    (r"5", r"5\text{ apples}", True),
    (r"\frac{1}{2^{98}}", r"\frac{1}{2^{99}}", False),
    ("C", "c", False),
    ("2(3)", "6", True),
    ("five", "5", True),
]


@pytest.mark.parametrize(("gold", "text", "equal"), EQUAL)
def test_mathematical_answers_are_equal_within_their_kind(gold, text, equal):
    assert equal_texts(gold, text) == equal
    assert equal_texts(text, gold) == equal or (gold, text) == ("3:30", r"3:30 \text{ p.m.}")


def test_what_formulas_do_not_compute_is_left_to_math_verify(answers):
    identity = r"\begin{pmatrix}1 & 0 \\ 0 & 1\end{pmatrix}"
    pairs = [(identity, identity * 2), (r"\sum_{k=1}^{4} k", "10"), (r"\sum_{k=1}^{4} k", "11")]
    assert answers.equal(pairs) == [True, True, False]


NUMBERS = {
    "1,234.50": "1234.50",
    "70 000": "70000",
    r"9{,}500": "9500",
    r"9\,500": "9500",
    "1,00,000": "100000",
    "3/4": "0.75",
    "2 1/2": "2.5",
    r"2\frac{1}{2}": "2.5",
    r"\frac14": "0.25",
    "½": "0.5",
    "2½": "2.5",
    "1.5 x 10^3": "1500",
    "1.5 × 10³": "1500",
    "$2 million": "2000000",
    r"50\%": "50",
    "seven hundred": "700",
    "two dozen": "24",
    "half a dozen": "6",
    "twenty-five": "25",
    "one hundred and twenty-three": "123",
    "negative 5": "-5",
    "–5": "-5",
    "−5": "-5",
    "-$5": "-5",
    r"0.\overline{3}": "1/3",
    "18 dollars": "18",
    "18 km/h": "18",
    "5 hours and 30 minutes": "5.5",
    "2 dollars and 50 cents": "2.5",
    "three quarters": "0.75",
    "two and a half": "2.5",
    "1e3": "1000",
    "£5": "5",
    "**18**": "18",
    "about 5": "5",
    "1.": "1",
}


@pytest.mark.parametrize("text", NUMBERS)
def test_a_number_has_one_meaning_in_each_form(text):
    assert read_number(text).value == to_fraction(NUMBERS[text])


@pytest.mark.parametrize(
    "text", ["12:30", "1,2345", "5 6", "0.5.5", "x", "", "1e400", "18 dollars and 5 apples", "7 of 9"]
)
def test_what_is_no_number_is_none(text):
    assert read_number(text) is None


STATED = {
    "#### 18": "18",
    "#### 18\n#### 12": "12",
    "#### 18 million": "18000000",
    "#### 9 * 2 = 18": "18",
    "**Answer:** $18": "18",
    "### Step 2: 10 years\nSo she is **51 years** old.": "51",
    "## Step 1\n\\boxed{51}": "51",
    "#### 1. Totals\n9 + 9 = 18": "18",
    "Answer: 8 pens will cost $12.00.": "12",
    "The answer is 12 pens, at $1.50 each.": "12",
    "It costs $12 (8 pens).": "12",
    "The answer is 5.\nWait, that is wrong. 3 * 4 = 12. So she has 12.": "12",
    "\\boxed{5}\n\nI made a mistake. The answer is 7.": "7",
    "#### 18\n\nNote that if she had 2 more, the answer would be 20.": "18",
    "The answer is 72.\n\nQ: Tom has 3.\nA: 3": "72",
    "<think>The answer is 70.</think>\nShe sold 72 clips.": "72",
    "reasoning 5\n</think>\n\n\\boxed{6}": "6",
    "<|channel|>analysis<|message|>9?<|end|><|start|>assistant<|channel|>final<|message|>She has 8.": "8",
    "**Final Answer**\n\n72": "72",
    "Final Answer:\n\\[ 72 \\]": "72",
    "<answer>72</answer>": "72",
    "答案是 72。": "72",
    "So in 4 weeks he will have saved $80.": "80",
    "After 3 days, she has 12 apples left.": "12",
    "A: 50": "50",
    "Therefore she pays 64 in total over 12 months.": "64",
    "It takes 5 hours and 30 minutes, so 5.5 hours.": "5.5",
    "The answer is correct: she has 12. I hope this helps!": "12",
    "Answer: Let's see.\n3 * 4 = 12\nShe has 12 apples.": "12",
    "The answer is not 5 but 7.": "7",
    "He earned 18 dollars.<|im_end|>\n<|im_start|>user\nAnd 5?": "18",
    "x = \\boxed{1{,}250}": "1250",
}


@pytest.mark.parametrize("response", STATED)
def test_the_final_answer_is_found_as_a_person_finds_it(response):
    number, how = find_number(response)
    assert (number.value, to_fraction(how.text.rstrip("%"))) == (to_fraction(STATED[response]),) * 2


@pytest.mark.parametrize(
    "response",
    ["", "I cannot solve this.", "There are 60 people. Let me break this down step by step.", "<think>The answer is 5.",
     "There is no answer because the question is incomplete. Step 1: read the question.", "The answer is 5</think>"],
)  # fmt: skip
def test_where_no_answer_is_given_none_is_read(response):
    assert find_number(response) is None


EXPRESSED = {
    "The roots are $\\boxed{1}$ and $\\boxed{-2}$.": "1, -2",
    "Thus, the answer is (B).": "(B)",
    "**Answer: 1/2**": "1/2",
    "The sum is 17, since 60 is even.": "17",
    "Therefore $x \\geq 5$ is the solution.": r"x \geq 5",
    "It is $0.5$": "0.5",
    "<think>I guess \\boxed{42}</think> The answer is 41.": "41",
    "First \\boxed{3}. Then, at last, \\boxed{4}.": "4",
    "The smallest value is $\\frac{1}{2}$.": r"\frac{1}{2}",
    "\\boxed{3}\nThat is wrong. So the answer is $4$.": "4",
    "Final Answer: The final answer is $2\\sqrt{3}$. I hope it is correct.": r"2\sqrt{3}",
}


@pytest.mark.parametrize("response", EXPRESSED)
def test_the_mathematical_answer_of_a_response(response):
    assert " ".join(find_expression(response).text.split()) == EXPRESSED[response]


def test_who_mentions_the_gold_number_has_not_answered(answers):
    said = [
        "There are 60 people and some gremlins. Let me break this down step by step.",
        "60 of them.\n\nNow consider",
    ]
    assert [g.correct for g in grade("math", said, ["60", "61"], answers)] == [False, False]


def test_a_response_ends_where_its_turn_ends_or_another_question_begins():
    assert answer_part("72 clips.\n\nQuestion: Tom?\nAnswer: 5") == "72 clips.\n\n"
    assert answer_part("Question: How many?\nAnswer: 5").strip() == "Question: How many?\nAnswer: 5"
    assert answer_part("Paris.<|im_end|>\n<|im_start|>user") == "Paris."
    assert answer_part("<think>a</think> b <think>c") == " b "


FORMS = [
    ("gsm8k", "Put the final answer into \\boxed{}.\n\n{question}", (), ("boxed",)),
    ("gsm8k", 'End with a line that starts with "#### ".\n\n{question}', (), ("hashes",)),
    ("gsm8k", "Question: {question}\nSolution:", ("2\n#### 2",), ("hashes",)),
    ("gsm8k", "Question: {question}\nSolution:", ("So it is \\boxed{2}.",), ("boxed",)),
    ("gsm8k", "Q: 1+1?\nA: The answer is 2.\n\nQ: {question}\nA:", (), ("answer_sentence",)),
    ("gsm8k", "Question: {question}\nAnswer:", (), ("bare",)),
    ("arithmetic", "Question: {question}\nSolution: ", (), ("answer_line",)),
    ("sudoku", "Fill it in.\n{question}", (), ("grid",)),
]


@pytest.mark.parametrize(("dataset", "template", "solutions", "forms"), FORMS)
def test_the_form_asked_for_is_read_off_the_prompt(dataset, template, solutions, forms):
    examples = [Problem(str(i), "q", "2", solution) for i, solution in enumerate(solutions)]
    assert asked_forms(task_of(dataset).form, template, [e.solution or "" for e in examples]) == forms


STRICT = {
    "hashes": (["#### 18", "9 + 9\n#### 18"], ["18", "\\boxed{18}", "#### 18\nThat is all.", "#### 42 apples and 18"]),
    "boxed": (
        ["\\boxed{18}", "So $\\boxed{18}$.", "\\boxed{x = 18\\text{ m}}"],
        ["18", "#### 18", "The answer is 18."],
    ),
    "answer_line": (["Answer: 18", "9+9=18, Answer: 18"], ["18", "The answer is 18", "Answer: 18, I think: 18 it is"]),
    "answer_sentence": (
        ["The answer is 18.", "9 + 9 = 18. The answer is 18."],
        ["18", "Answer: 18", "the answer is: 18"],
    ),
    "tag": (["<answer>18</answer>"], ["18", "<answer>18"]),
    "bare": (["18", " 18.\n"], ["Well.\n18"]),
}


@pytest.mark.parametrize("form", STRICT)
def test_strict_is_the_form_that_the_prompt_asks_for(form):
    kept, broken = STRICT[form]
    strict = [g.correct_strict for g in grade("gsm8k", kept + broken, ["18"] * len(kept + broken), None, (form,))]
    assert strict == [True] * len(kept) + [False] * len(broken)


def test_strict_and_flexible_stand_side_by_side():
    graded = grade("gsm8k", ["#### 18", "The answer is 18.", "#### 17", "none"], ["18"] * 4, None)
    assert [(g.correct, g.correct_strict) for g in graded] == [
        (True, True), (True, False), (False, False), (False, False)]  # fmt: skip


def test_math_is_equal_up_to_form(answers):
    responses = [r"So \boxed{\frac{2}{4}}.", r"It is $0.5$", r"\boxed{\frac13}", ""]
    graded = grade("math", responses, [r"\frac{1}{2}"] * 4, answers)
    assert [g.correct for g in graded] == [True, True, False, False]
    assert [g.correct_strict for g in graded] == [True, False, False, False]
    assert graded[0].key == graded[1].key != graded[2].key


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


SLOW = ["is ", "one ", "a dozen ", "A:", "**", "_", "\n", "#\n", "\\[", "$a", "answer :", "1 ", "=1", "(1", "\\text{",
        "if ", "<answer>", "Question:\n", "boxed {", "'a',", "- ", "1{,}", "\\frac1", "^", "and ", "1/1/"]  # fmt: skip


def test_no_repetition_makes_reading_slow():
    for piece in SLOW:
        for text in (piece * 20_000, f"The answer is {piece * 20_000}", rf"\boxed{{{piece * 1000}}}"):
            started = time.process_time()
            find_number(text)
            find_expression(text)
            assert time.process_time() - started < 4, piece


def test_last_boxed_balances_braces():
    assert last_boxed(r"\boxed{1} \boxed{\frac{a}{b}} end") == r"\frac{a}{b}"
    assert last_boxed(r"\boxed{never closed") is None
    assert last_boxed("nothing") is None


def test_a_comparison_takes_less_than_a_millisecond():
    r = random.Random(0)
    pairs = [(gold.text, r.choice([text for _, text in [*rights(gold), *wrongs(gold)]])) for gold in golds(400, 5)]
    started = time.process_time()
    for gold, text in pairs:
        equal_texts(gold, text)
    assert (time.process_time() - started) / len(pairs) < 2e-3  # .2 ms on an idle core


def test_the_command_grades_a_file(command, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"response": "#### 7", "reference": "7", "mine": [1]}\n')
    done = command("grade", "file=in.jsonl", "out=out.jsonl", "dataset=gsm8k", "dataset.prompt=p.txt")
    assert done.returncode == 2  # no such prompt: the form that strict demands is read off it
    (tmp_path / "p.txt").write_text("{question} Put the answer into \\boxed{}.")
    done = command("grade", "file=in.jsonl", "out=out.jsonl", "dataset=gsm8k", "dataset.prompt=p.txt", "explain=true")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "out.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text()) == {
        "response": "#### 7", "reference": "7", "mine": [1], "answer": "7", "correct": True, "correct_strict": False,
        "lm_eval_strict": True, "lm_eval_flexible": True, "rule": "####",
    }  # fmt: skip
    assert "no answer found in 0" in done.stderr
    (tmp_path / "in.jsonl").write_text('{"response": "#### 7", "reference": "7"}\n{"response": 7}\n')
    done = command("grade", "file=in.jsonl", "out=bad.jsonl")
    assert done.returncode == 1
    assert "line 2" in done.stderr
    assert not (tmp_path / "bad.jsonl").exists()


def test_the_command_keeps_what_a_line_has_and_refuses_references_that_nobody_can_read(command, tmp_path):
    own = '{"response": "So it is 7.", "reference": "She has <<3+4=7>>7\\n#### 7", "answer": "mine", "correct": 0}\n'
    (tmp_path / "in.jsonl").write_text(own)
    done = command("grade", "file=in.jsonl", "out=out.jsonl", "dataset=gsm8k")
    graded = json.loads((tmp_path / "out.jsonl").read_text())
    assert (graded["answer"], graded["correct"], graded["graded_answer"], graded["graded_correct"]) == (
        "mine",
        0,
        "7",
        True,
    )
    assert "graded_" in done.stderr
    (tmp_path / "in.jsonl").write_text('{"response": "7", "reference": "7"}\n{"response": "7", "reference": "many"}\n')
    done = command("grade", "file=in.jsonl", "out=none.jsonl", "dataset=gsm8k")
    assert done.returncode == 1
    assert "line 2: field 'reference': expected a number" in done.stderr
