"""Versions of what all parties share, and whether this host's fit."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

PARTS = ("heron-sfl", "flwr", "torch")
FLOWER = "1.41.0"
"""The version of Flower that this one was tested with; `pyproject.toml` has the same."""


def installed_versions() -> dict[str, str]:
    """What is installed of `PARTS`; of a version, not what it was built for (`+cpu`)."""
    found = {}
    for library in PARTS:
        try:
            found[library] = version(library).partition("+")[0]
        except PackageNotFoundError:
            continue
    return found


def as_text(versions: Mapping[str, str]) -> str:
    """Versions as they stand in an env file."""
    return " ".join(f"{library}={found}" for library, found in versions.items())


def from_text(text: str) -> dict[str, str]:
    """Versions of an env file; what is no version is left out."""
    pairs = (word.partition("=") for word in text.split())
    return {library: found for library, _, found in pairs if library in PARTS and found}
