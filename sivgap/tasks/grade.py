"""Grading by ground truth, by the rules of a task."""

from __future__ import annotations

from collections.abc import Sequence

from sivgap.config.dataset import DatasetConfig
from sivgap.config.locate import read_prompt
from sivgap.core.problem import Problem
from sivgap.errors import RunError
from sivgap.grading.equal import AnswerComparer
from sivgap.grading.forms import Form, asked_forms
from sivgap.grading.grade import Grade
from sivgap.registry import is_own, own_code
from sivgap.tasks.task import task_of


def grade(
    dataset: str,
    responses: Sequence[str],
    references: Sequence[str],
    comparer: AnswerComparer,
    forms: Sequence[Form] | None = None,
) -> list[Grade]:
    """Grade responses against references by the rules of a task, named as in `DatasetConfig`.

    `forms` are those that the prompt asks for (`forms_of`); None stands for the task's own.

    Raises:
        RunError: If a task of the user's own fails.
    """
    task = task_of(dataset)
    asked = tuple(forms or (task.form,))
    if not is_own(dataset):
        return task.grade(responses, references, comparer, asked)
    with own_code(f"dataset={dataset}"):
        grades = list(task.grade(responses, references, comparer, asked))
    if len(grades) != len(responses) or not all(isinstance(found, Grade) for found in grades):
        raise RunError(f"dataset={dataset}: expected a Grade for each of {len(responses)} responses")
    return grades


def grade_samples(
    dataset: str,
    problems: Sequence[Problem],
    texts: Sequence[str],
    comparer: AnswerComparer,
    forms: Sequence[Form] | None = None,
) -> list[Grade]:
    """Grade N responses to each of P problems, problem-major."""
    samples = len(texts) // len(problems)
    return grade(dataset, texts, [problem.reference for problem in problems for _ in range(samples)], comparer, forms)


def forms_of(dataset: DatasetConfig, examples: Sequence[Problem] = ()) -> tuple[Form, ...]:
    """The forms that a configured dataset's prompt asks for.

    Raises:
        ConfigError: If there is no such prompt file.
    """
    return asked_forms(
        task_of(dataset.name).form, read_prompt(dataset.prompt), [problem.solution or "" for problem in examples]
    )
