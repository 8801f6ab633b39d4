"""Versions of the libraries that all parties share, and a comparison with those of this host."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

NEEDED = {"torch": ("heron-sfl", "flwr", "torch"), "onnx": ("heron-sfl", "flwr", "onnxruntime")}
"""Libraries of a party, by the runtime of its client, which is the last one; a server has PyTorch."""
FLOWER = "1.41.0"
"""The version of Flower that this version of heron was tested with; `pyproject.toml` has the same."""


def installed_versions(runtime: str = "torch") -> dict[str, str]:
    """Installed versions of the libraries that a party needs, without their build tags (`+cpu`).

    Args:
        runtime: a key of `NEEDED`.
    """
    found = {}
    for library in NEEDED[runtime]:
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
    return {library: found for library, _, found in pairs if found}
