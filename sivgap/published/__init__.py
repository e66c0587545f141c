"""Figures that others published, as tables: numbers are facts, and a reader wants his own beside them.

mg_table_3, mg_table_4   Song et al., "Mind the Gap" (arXiv 2412.02674), Tables 3 and 4: 21 base models on GSM8K,
                         the generation-verification gap and the relative gap by verifier and filter, as shares;
                         parameters and pre-training tokens as in the models' cards (one is not known)
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.csv")))


def published(name: str) -> Path:
    """The CSV of a published table; of another name the file of that name."""
    return FOLDER / f"{name}.csv" if name in NAMES else Path(name)
