"""What a task is: how its problems are read or made, and how responses to them are graded. One module a task.

A task of the user's own, ``dataset=my_module:Name``, is a subclass of `Task` that says what differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import ClassVar

from sivgap.config.dataset import DATASETS
from sivgap.core.problem import Problem
from sivgap.errors import ConfigError
from sivgap.grading.equal import AnswerComparer
from sivgap.grading.forms import Form
from sivgap.grading.grade import Grade, grade_expressions, grade_numbers
from sivgap.grading.reference import unreadable_number
from sivgap.registry import is_own, own_code
from sivgap.tasks.source import Record, text_field


class Task:
    """A task whose answers are mathematical, and whose records have ``question`` and ``reference``, unless a subclass
    says otherwise."""

    form: ClassVar[Form] = "boxed"
    """In which its own solutions say their answer; what a prompt asks for goes before it."""
    sizes: ClassVar[tuple[int, int] | None] = None
    """Problems to train on and held out unless a configuration says how many, of a task that makes any number."""
    hub_split: ClassVar[str] = "test"
    """Name of the held-out problems on the hub."""
    examples_of_any_length: ClassVar[bool] = False
    """Few-shot examples are drawn from all problems, not from those with the shortest solutions: where the shortest
    are only the odd ones (answers of one letter, puzzles with the most clues)."""
    published: ClassVar[tuple[int, int, int] | None] = None
    """Training problems, held-out ones, and characters a question (mean): for a plan of problems that are not here."""

    def read(self, record: Record) -> Problem:
        """The problem of a record of a file or of the hub, its id empty where the record has none.

        Raises:
            ValueError: With what was expected.
        """
        reference = text_field(record, "reference", "answer")
        solution = text_field(record, "solution") if record.get("solution") else None
        return Problem(str(record.get("id", "")), text_field(record, "question").strip(), reference, solution)

    def generate(self, part: str, count: int | None, seed: int) -> list[Problem] | None:
        """`count` problems of ``train`` or ``test``, all there are without a count; None of a task that is read."""
        return None

    def grade(
        self, responses: Sequence[str], references: Sequence[str], comparer: AnswerComparer, forms: Sequence[Form]
    ) -> list[Grade]:
        """Each response against its problem's reference; `forms` are those that the prompt asks for."""
        return grade_expressions(responses, references, comparer, forms)

    def unreadable(self, reference: str) -> str | None:
        """What is wrong with a reference, and what to write; None where its grader reads it."""
        return None


class NumberTask(Task):
    """A task whose answers are numbers."""

    def grade(
        self, responses: Sequence[str], references: Sequence[str], comparer: AnswerComparer, forms: Sequence[Form]
    ) -> list[Grade]:
        return grade_numbers(responses, references, forms)

    def unreadable(self, reference: str) -> str | None:
        return unreadable_number(reference)


@cache
def task_of(name: str) -> Task:
    """The task of a name as in `DatasetConfig`.

    Raises:
        ConfigError: If it is of a module that cannot be imported, or is no task.
        RunError: If making it fails.
    """
    make = DATASETS.find(name)
    if not is_own(name):
        return make()  # type: ignore[no-any-return]
    with own_code(f"dataset={name}"):
        task = make()
    if not isinstance(task, Task):
        raise ConfigError(f"dataset={name}: expected a subclass of sivgap.tasks.task.Task, got {type(task).__name__}")
    return task
