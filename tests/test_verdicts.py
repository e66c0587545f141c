"""Verdicts: what a judge wrote is read as a careful person reads it, by parsers made from the YAML."""

import pytest
from pydantic import ValidationError
from verdicts import NAMES, parser

READ = {
    "qe": [
        ("0.8", 0.8),
        ("1.0", 1.0),
        ("1", 1.0),
        ("0", 0.0),
        (".5", 0.5),
        ("0.75", 0.75),
        ("0.9.", 0.9),
        ("1.", 1.0),
        ("Score: 0.25 because", 0.25),
        ("Score: 1", 1.0),
        ("Quality: 0.9", 0.9),
        ("The score is 0.0", 0.0),
        ("The quality of the solution is 0.8.", 0.8),
        ("I would give it 0.8.", 0.8),
        ("0.8 (certain)", 0.8),
        ("**0.7**", 0.7),
        ("$0.8$", 0.8),
        (r"\boxed{0.7}", 0.7),
        ("0.8 out of 1", 0.8),
        ("0.8/1.0", 0.8),
        ("The final answer is correct. 1.0", 1.0),
        ("1.0\n\nThe solution is", 1.0),
        ("<think>0.1?</think>0.9", 0.9),
        # the beginnings of lists, headings and steps, 27 of 32 verdicts of a real model
        ("1. **Step 1**: The", None),
        ("1. The", None),
        ("1. Step", None),
        ("1) First", None),
        ("1 - The solution", None),
        ("1.\n\nStep 1", None),
        ("**Step 1**", None),
        ("Step 1: 0.5", None),
        ("### Step 1", None),
        # out of ten, in percent, below zero: not the scale that was asked for
        ("8/10", None),
        ("1/10", None),
        ("85%", None),
        ("1.5", None),
        ("-0.5", None),
        ("10", None),
        ("80", None),
        ("0.7 or 0.8", None),
        ("between 0.7 and 0.8", None),
        ("0.1.2", None),
        ("The answer is 18", None),
        ("", None),
        ("great", None),
        ("1" * 10_000, None),
    ],
    "tf": [
        ("True", 1.0),
        ("false.", 0.0),
        ("TRUE!", 1.0),
        ("'True'", 1.0),
        ("**False**", 0.0),
        ("Verdict: TRUE", 1.0),
        ("Verdict: True.", 1.0),
        ("Answer: False", 0.0),
        ("The answer is False.", 0.0),
        ("This is true.", 1.0),
        ("The final answer is correct. True", 1.0),
        (r"\boxed{\text{True}}", 1.0),
        ("True, because", 1.0),
        ("I think it is true.", 1.0),
        ("The statement is true", 1.0),
        ("True\n\nExplanation: 5+7=12.", 1.0),
        ("The solution above is False.", 0.0),
        ("<think>True?</think> False", 0.0),
        ("Not true", 0.0),
        ("It is not true.", 0.0),
        ("It isn't true", 0.0),
        ("not false", 1.0),
        ("False. The answer is not True.", 0.0),
        ("True or False", None),
        ("True or False?", None),
        ("True/False", None),
        ("True and False", None),
        ("Is it True?", None),
        ("untrue", None),
        ("The final answer is", None),
        ("", None),
    ],
    "mc": [
        ("Correct", 1.0),
        ("Correct.", 1.0),
        ("Incorrect", 0.0),
        ("Correctness: Correct", 1.0),
        ("Correctness: Incorrect", 0.0),
        ("The final answer is correct.", 1.0),
        ("The solution is incorrect because", 0.0),
        ("Not correct.", 0.0),
        ("The answer is not correct.", 0.0),
        ("Correctness: Not correct", 0.0),
        ("Correctness: Correct or Incorrect?", None),
        ("Correct or Incorrect", None),
        ("Step 1 is correct", None),
    ],
    "cot_binary": [
        ("All steps hold.\nCorrectness: Correct", 1.0),
        ("correctness: incorrect.", 0.0),
        ("Correct", 1.0),
        ("**Correctness: Incorrect**", 0.0),
        ("**Correctness:** Correct", 1.0),
        ("Incorrect", 0.0),
        ("Correctness: Correct\nNo, wait.\nCorrectness: Incorrect", 0.0),
        (r"Correctness: \boxed{Correct}", 1.0),
        ("Correctness:\nIncorrect", 0.0),
        ("Correctness: [Correct]", 1.0),
        ("Correctness: Not correct", 0.0),
        ("Correctness: Correct or Incorrect?", None),
        ("Correctness: Correct/Incorrect", None),
        ("The solution is correct.", None),
        ("Correctness: Correctly done", None),
        ("", None),
        ("Correctness: the solution is wrong", None),
    ],
    "cot_score": [
        ("Fine.\nScore: 7", 0.7),
        ("Score: 10", 1.0),
        ("**Score:** 3", 0.3),
        ("Score: 8/10", 0.8),
        ("Score: 7.", 0.7),
        ("Score: 7 out of 10", 0.7),
        (r"Score: \boxed{7}", 0.7),
        ("Score: **7**/10", 0.7),
        ("Score: 3\nScore: 9", 0.9),
        ("Score: 0", None),
        ("Score: 11", None),
        ("Score: 85%", None),
        ("Score: 7.5", None),
        ("7", None),
        ("Score: 7 or 8", None),
        ("Score: 7-8", None),
        ("Score: 7/100", None),
        ("Score: 1" + "0" * 10_000, None),
    ],
    "tournament": [
        ("Preferred solution: A", 1.0),
        ("preferred solution: **B**", 0.0),
        ("Preferred solution: Solution A", 1.0),
        ("Preferred solution: (B).", 0.0),
        ("Preferred solution: 2", 0.0),
        ("A", 1.0),
        ("B.", 0.0),
        ("Preferred solution: both", None),
        ("A is better than B", None),
        ("Preferred solution: AB", None),
        ("Preferred solution: A or B", None),
        ("Preferred solution: Neither A nor B", None),
    ],
}


@pytest.mark.parametrize("name", NAMES)
def test_verdicts_are_read_where_they_are_given(name):
    parse = parser(name)
    assert {text: parse(text) for text, _ in READ[name]} == dict(READ[name])


def test_overridden_answers_and_heading_reach_the_parser():
    parse = parser("tf", answers={"Yes": 1.0, "No": 0.0}, heading="Verdict:")
    said = ["Fine. Verdict: Yes", "Verdict: no.", "Yes", "Verdict: True", "True"]
    assert [parse(text) for text in said] == [1.0, 0.0, 1.0, None, None]
    graded = parser("cot_score", answers={"1": 0.0, "5": 1.0}, heading="Mark:")
    assert [graded(text) for text in ("Mark: 5", "Mark: 1.", "Mark: 3", "Score: 5")] == [1.0, 0.0, None, None]
    three = parser("mc", answers={"right": 1.0, "unsure": 0.5, "wrong": 0.0})
    assert [three(text) for text in ("Wrong.", "unsure", "not right", "Correct")] == [0.0, 0.5, None, None]


def test_a_pattern_of_ones_own_takes_the_place_of_the_rules():
    parse = parser("tf", pattern=r"^final: (\w+)")
    assert [parse(text) for text in ("final: true", "x\nFINAL: false\n", "True", "final: maybe")] == [
        1.0,
        0.0,
        None,
        None,
    ]
    assert parser("qe", pattern=r"<score>([\d.]+)</score>")("0.3 <score>1</score>") == 1.0
    with pytest.raises(ValidationError, match="pattern: expected a regular expression"):
        parser("tf", pattern="(")
