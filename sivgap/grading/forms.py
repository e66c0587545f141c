r"""The form that a prompt asks for: where and how a response has to say its answer, to be right in the strict sense.

It is read off what the model is shown: the words of the solver's prompt (``\boxed{}``, ``#### ``, ``Answer: ``, ``The
answer is``), worked examples in it, and the ends of few-shot solutions. Where these show several, each is the form
asked for. A prompt without any leaves the dataset's own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from sivgap.grading.grids import strict_grid
from sivgap.grading.marks import boxes
from sivgap.grading.reasoning import answer_part

Form = Literal["boxed", "hashes", "answer_line", "answer_sentence", "tag", "grid", "bare"]

_ASKED: tuple[tuple[Form, str], ...] = (
    ("boxed", r"\\boxed"),
    ("hashes", r"####"),
    ("tag", r"<answer>"),
    ("answer_sentence", r"(?i)\b(?:the|final) answer is\b"),
    ("answer_line", r"(?i)(?:\bfinal )?\banswer: ?"),
)
_CUE = re.compile(r"(?i)(?:^|\n)[^\n{}]{0,20}(?:answer|solution|a)\s*[:：]?\s*\Z")
_LONGEST = 1_000


def asked_forms(own: Form, template: str, solutions: Sequence[str] = ()) -> tuple[Form, ...]:
    """The forms that a prompt asks for: any of them is right.

    Args:
        own: What the task's own solutions end in; a ``grid`` is never said in another form.
        template: The solver's prompt, with ``{question}``.
        solutions: Of few-shot examples shown before the question.
    """
    if own == "grid":
        return ("grid",)
    words = template.replace("{question}", "")
    cue = _CUE.search(template)
    found = _forms_in(words[: -len(cue[0])] if cue else words)
    found += [form for solution in solutions[:8] for form in _forms_in(_end_of(solution)) if form not in found]
    if not found and cue and cue[0].strip().lower().startswith("answer"):
        return ("bare",)  # the prompt ends in "Answer:", and what follows is the answer itself
    return tuple(dict.fromkeys(found)) or (own,)


def _forms_in(text: str) -> list[Form]:
    return [form for form, pattern in _ASKED if re.search(pattern, text)]


def _end_of(solution: str) -> str:
    lines = solution.strip().splitlines()
    return lines[-1][-_LONGEST:] if lines else ""


_HASHES = re.compile(r"(?:\A|\n)\s*#### ?(?P<answer>[^\n]{1,200}?)\s*\Z")
_LINE = re.compile(r"(?:\A|[\s*_])(?:[Ff]inal )?[Aa]nswer: (?:[*_]{1,3}\s?)?(?P<answer>[^\n]{1,500}?)[*_]{0,3}\s*\Z")
_SENTENCE = re.compile(
    r"(?:(?:\A|[\n.!?]\s*|\*\*)The|\b(?:So|Therefore|Thus"
    r"|Hence),? the)(?: final)? answer is (?P<answer>[^\n]{1,500}?)\s*\Z"
)
_TAG = re.compile(r"(?s)<answer>\s*(?P<answer>.{1,500}?)\s*</answer>\s*\Z")


def in_form(response: str, form: Form) -> str | None:
    """The answer of a response that keeps to a form: its last line does, or its last box. None where it does not."""
    if form == "grid":
        return strict_grid(response)
    text = answer_part(response).strip()
    if form == "boxed":
        found = boxes(text)
        return found[-1].passage if found else None
    if form == "bare":
        return text.splitlines()[0].strip() if text else None
    pattern = {"hashes": _HASHES, "answer_line": _LINE, "answer_sentence": _SENTENCE, "tag": _TAG}[form]
    match = pattern.search(text[-_LONGEST:])
    if match is None or (form == "answer_sentence" and r"\boxed" in match["answer"]):
        return None  # a box is a form of its own
    return match["answer"].strip()
