"""What all figures of a report share: how they are saved, and text that matplotlib does not take for formulas."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure


def save(figure: Figure, path: Path) -> None:
    """Write `figure` as PNG (to `path`) and PDF (beside it), and forget it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for suffix in (".png", ".pdf"):
        figure.savefig(path.with_suffix(suffix), dpi=150)
    plt.close(figure)


def plain(text: str) -> str:
    """`text` as it stands, whatever matplotlib would make of its dollar signs."""
    return text.replace("$", r"\$")
