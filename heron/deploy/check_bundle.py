"""Checks of a client without PyTorch: its bundle is the deployment's, this host computes it, its examples fit."""

from collections.abc import Iterator
from pathlib import Path

from heron.client.onnx_runtime.bundle import open_bundle
from heron.deploy.findings import Level
from heron.deploy.lean import bundle_digest
from heron.deploy.party import Party
from heron.errors import DeployError

_SHOWN = 12


def check_bundle(party: Party) -> Iterator[tuple[Level, str]]:
    """Compare the digest of the manifest with the deployment's, and those of the files with the manifest's."""
    folder, expected = Path(party.setting("HERON_BUNDLE")), party.setting("HERON_BUNDLE_DIGEST")
    if (found := bundle_digest(folder)) != expected:
        raise DeployError(
            f"expected the bundle of this deployment in {folder}, with the digest {expected[:_SHOWN]}, found "
            f"{found[:_SHOWN]}; copy the whole folder again, or correct HERON_BUNDLE_DIGEST if it was replaced"
        )
    manifest = open_bundle(folder).manifest
    yield (
        "ok",
        f"{len(manifest.files)} files of the bundle have their digests; {manifest.algorithm}, {manifest.made_with}",
    )


def check_examples(party: Party) -> Iterator[tuple[Level, str]]:
    """Check that the client's examples fit the bundle, and that this host's onnxruntime reads its graphs."""
    from heron.engines.bundle_clients import bundle_clients
    from heron.engines.bundle_examples import read_examples

    path = Path(party.setting("HERON_EXAMPLES"))
    bundle = open_bundle(Path(party.setting("HERON_BUNDLE")))
    examples = read_examples(path, bundle.manifest)
    bundle_clients(bundle.terms, bundle, 0, examples)
    yield "ok", f"{len(examples)} examples in {path} fit the bundle, and onnxruntime reads its graphs"
