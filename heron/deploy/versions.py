"""Versions of the libraries that all parties share, and a comparison with those of this host."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

PARTS = ("heron-sfl", "flwr", "torch")
FLOWER = "1.41.0"
"""The version of Flower that this version of heron was tested with; `pyproject.toml` has the same."""


def installed_versions() -> dict[str, str]:
    """Installed versions of the libraries in `PARTS`, without their build tags (`+cpu`)."""
    found = {}
    for library in PARTS:
        try:
            found[library] = version(library).partition("+")[0]
        except PackageNotFoundError:
            continue
    return found


def as_text(versions: Mapping[str, str]) -> str:
    """Versions in the form of an env file."""
    return " ".join(f"{library}={found}" for library, found in versions.items())


def from_text(text: str) -> dict[str, str]:
    """Versions in an env file; entries that are no versions are ignored."""
    pairs = (word.partition("=") for word in text.split())
    return {library: found for library, _, found in pairs if library in PARTS and found}
