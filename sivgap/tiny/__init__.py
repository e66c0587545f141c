"""The embedded tiny model: its weights (`WEIGHTS`), its tokenizer, and the script that rebuilds both (`build`)."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""Folder with ``config.json``, ``model.safetensors`` and the tokenizer, in the transformers layout."""
