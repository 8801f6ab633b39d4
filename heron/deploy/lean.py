"""Files of clients whose hosts have no PyTorch: the bundle, the libraries that it needs, the place of the examples."""

import tempfile
from pathlib import Path
from typing import Any

from heron.client.onnx_runtime.bundle import digest_of, open_bundle
from heron.client.onnx_runtime.manifest import MANIFEST
from heron.deploy.files import copy_file, write_file
from heron.deploy.render import render, script

BUNDLE = "bundle"
"""Folder of the bundle in a party's folder."""
REQUIREMENTS = "requirements.txt"
"""File of the libraries that such a client needs."""


def export_bundle(folder: Path, recipe: str, num_clients: int) -> None:
    """Export the clients of a recipe to the folder `BUNDLE` in a party's folder.

    Args:
        folder: the party's.
        recipe: name of the recipe.
        num_clients: clients of its runs.

    Raises:
        HeronError: if the recipe's clients cannot be exported here.
        OSError: if a file cannot be written.
    """
    from heron.config import export_clients, recipe_config

    config = recipe_config(recipe, "heron", [f"clients.total={num_clients}"])
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / BUNDLE
        export_clients(config, made)
        copy_bundle(made, folder)


def copy_bundle(bundle: Path, folder: Path) -> None:
    """Copy a bundle to the folder `BUNDLE` in a party's folder.

    Args:
        bundle: to copy.
        folder: the party's.

    Raises:
        BundleError: if it is damaged.
        OSError: if a file cannot be read or written.
    """
    manifest = open_bundle(bundle).manifest
    for name in (MANIFEST, *(file.name for file in manifest.files)):
        copy_file(bundle / name, folder / BUNDLE / name)


def write_lean_files(client: Path, bundle: Path) -> None:
    """Write what only a client without PyTorch has.

    Args:
        client: its folder.
        bundle: of the deployment.

    Raises:
        BundleError: if the bundle is damaged.
        OSError: if a file cannot be read or written.
    """
    copy_bundle(bundle, client)
    write_file(client / REQUIREMENTS, script(REQUIREMENTS))
    opened = open_bundle(bundle)
    upload, inputs = opened.terms.upload, opened.manifest.inputs
    facts: dict[str, Any] = {"inputs": inputs, "upload": upload, "pairs": opened.terms.pairs != "none"}
    write_file(client / "data" / "README.md", render("examples.md.j2", **facts))


def bundle_digest(folder: Path) -> str:
    """Digest of a bundle: that of its manifest, which has those of its other files.

    Raises:
        BundleError: if the manifest cannot be read.
    """
    return digest_of(folder / MANIFEST)
