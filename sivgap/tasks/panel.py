"""Fixed panels of problems: what is measured again and again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sivgap.engines.noise import key_of
from sivgap.tasks.problem import Problem


def draw_panel(problems: Sequence[Problem], size: int | None, data_seed: int, split: str) -> list[Problem]:
    """`size` problems of a split in a seeded order, nested in `size`; None, or more than there are, takes all."""
    order = np.random.default_rng(key_of(data_seed, "panel", split)).permutation(len(problems))
    return [problems[i] for i in order[:size]]
