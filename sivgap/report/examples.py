"""Responses worth reading: where the verifier was right, where it was fooled, and what it missed."""

from __future__ import annotations

import pandas as pd

_EACH = 4
"""Responses of each kind."""

_LONGEST = 2_000
"""Characters of a response that are shown."""

KINDS = (
    ("right, and scored highest", True, False),
    ("wrong, and scored highest: the verifier is fooled", False, False),
    ("right, and scored lowest: the verifier misses them", True, True),
    ("wrong, and scored lowest", False, True),
)


def examples(samples: pd.DataFrame) -> list[tuple[str, list[dict[str, object]]]]:
    """For each kind its title and up to four responses of different prompts: question, text, reference, score."""
    found = []
    for title, correct, ascending in KINDS:
        those = samples[samples["correct"].astype(bool) == correct]
        those = those.sort_values(["score", "problem_id", "sample"], ascending=[ascending, True, True])
        those = those.drop_duplicates("problem_id").head(_EACH)
        rows = [
            {
                "question": str(row["question"]),
                "text": _short(str(row["text"])),
                "reference": str(row["reference"]),
                "answer": "" if row["answer"] is None else str(row["answer"]),
                "score": float(row["score"]),
                "nll": float(row["nll"]),
            }
            for _, row in those.iterrows()
        ]
        found.append((title, rows))
    return found


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " ... (shortened)"
