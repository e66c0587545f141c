"""The embedded models: where their weights and tokenizers lie."""

from pathlib import Path

_TINY = Path(__file__).parent.parent / "tiny"
WEIGHTS = _TINY / "weights"
"""Folder of ``tiny``: ``config.json``, ``model.safetensors`` and the tokenizer, in the transformers layout."""
FAMILY = _TINY / "weights_family"
"""Folder of the family, one such folder a size, each with what its pretraining took (``pretraining.json``)."""
EMBEDDED = {"tiny": WEIGHTS, **{f"tiny_{size}": FAMILY / size for size in ("xs", "s", "m", "l")}}
"""Embedded models and their folders. They have no ``model.path``, and read arithmetic only."""


def located(path: str) -> str:
    """A model's path; the name of an embedded model stands for its folder."""
    return str(EMBEDDED.get(path, path))
