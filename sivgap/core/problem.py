"""A problem: what is asked, and what is known about the answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One question with its ground truth.

    Attributes:
        id: Unique within a dataset and stable between runs. All randomness spent on a problem
            (sampling, verdicts) is keyed by it, so renaming a problem changes its samples.
        question: What the solver is shown, without any prompt around it.
        reference: The final answer, as the grader reads it. Never shown to the model.
        solution: A worked reference solution that ends in the answer, where the dataset has one.
    """

    id: str
    question: str
    reference: str
    solution: str | None = None
