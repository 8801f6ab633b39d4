"""A client's bundle on the disk: opened, checked against its manifest, and mapped."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heron.arrays import numpy_dtype
from heron.client.onnx_runtime.graph_check import check_graph
from heron.client.onnx_runtime.manifest import (
    CLEAN,
    FROZEN,
    MANIFEST,
    MAX_BYTES,
    OPSET,
    PROBE,
    SLICE,
    TERMS,
    ArrayTerm,
    Manifest,
)
from heron.client.onnx_runtime.manifest import decode_manifest as decode
from heron.client.onnx_runtime.mapping import map_file
from heron.errors import BundleError, MessageError
from heron.wire.blob import DTYPES
from heron.wire.terms import Terms, decode_terms

_PIECE = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """A checked bundle.

    Attributes:
        manifest: what it says of itself.
        terms: of the run that it was exported for; those of another run may have other settings.
        graphs: bytes of its graphs by file name.
        frozen: arrays that never change, by name; pages of the mapped file.
    """

    manifest: Manifest
    terms: Terms
    graphs: Mapping[str, bytes]
    frozen: Mapping[str, NDArray[Any]]


def open_bundle(folder: Path) -> Bundle:
    """Read a bundle that `heron export-client` has written, and believe nothing in it.

    Args:
        folder: where it is.

    Raises:
        BundleError: if a file is absent, or another one than the manifest says, or not what this version of heron
            reads. Nothing has been loaded then.
    """
    manifest = decode(_read(folder / MANIFEST, MAX_BYTES))
    for file in manifest.files:
        _check_size(folder / file.name, file.size)
    graphs: dict[str, bytes] = {
        file.name: _checked(_read(folder / file.name, file.size), file.name, file.digest)
        for file in manifest.files
        if file.name in {CLEAN, PROBE, SLICE, TERMS}
    }
    terms = _terms(graphs.pop(TERMS), manifest)
    for name, content in graphs.items():
        check_graph(content, name, OPSET)
    frozen = next((file for file in manifest.files if file.name == FROZEN), None)
    if frozen is None:
        return Bundle(manifest, terms, graphs, {})
    _check_digest(digest_of(folder / FROZEN), FROZEN, frozen.digest)
    return Bundle(manifest, terms, graphs, _mapped(folder / FROZEN, manifest))


def check_terms(manifest: Manifest, terms: Terms) -> None:
    """Refuse terms of a run that a bundle's client cannot take part in.

    Raises:
        BundleError: if algorithm, order boundary, names or shapes are others than those of the export.
    """
    run, export = vars(terms.upload), vars(manifest.upload)
    for what, expected, found in (
        ("algorithm", terms.algorithm, manifest.algorithm),
        ("client.exact", terms.settings.client.exact if manifest.probed else manifest.exact, manifest.exact),
        *((f"upload.{name}", run[name], export[name]) for name in run),
    ):
        if expected != found:
            raise BundleError(f"expected a bundle with {what} {expected}, found {found}; export it for this run")
    travelling = {term.name: (term.shape, term.dtype) for term in terms.tensors}
    held = {
        array.name: (array.shape, array.dtype) for array in (*manifest.probed, *manifest.trained, *manifest.buffers)
    }
    if travelling != held:
        odd = min(set(travelling.items()) ^ set(held.items()))[0]
        raise BundleError(
            f"expected a bundle with the run's tensors, found another {odd[:80]!r}; export it for this run"
        )


def digest_of(path: Path) -> str:
    """BLAKE2b of a file, as a manifest has it; the file is read piece by piece.

    Raises:
        BundleError: if it cannot be read.
    """
    summed = hashlib.blake2b(digest_size=32)
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                summed.update(piece)
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}; export the bundle again") from error
    return summed.hexdigest()


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}; name a folder of heron export-client") from error
    if len(content) > limit:
        raise BundleError(f"{path.name}: expected at most {limit} bytes, found more; export the bundle again")
    return content


def _check_size(path: Path, expected: int) -> None:
    try:
        found = path.stat().st_size
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}; export the bundle again") from error
    if found != expected:
        raise BundleError(f"{path.name}: expected {expected} bytes, found {found}; copy or export the bundle again")


def _terms(content: bytes, manifest: Manifest) -> Terms:
    try:
        terms = decode_terms(content)
    except MessageError as error:
        raise BundleError(f"{TERMS}: {str(error).partition(';')[0]}; export the bundle again") from error
    check_terms(manifest, terms)
    return terms


def _checked(content: bytes, name: str, digest: str) -> bytes:
    _check_digest(hashlib.blake2b(content, digest_size=32).hexdigest(), name, digest)
    return content


def _check_digest(found: str, name: str, expected: str) -> None:
    if found != expected:
        raise BundleError(
            f"{name}: expected the digest {expected[:12]}, found {found[:12]}; copy or export the bundle again"
        )


def _mapped(path: Path, manifest: Manifest) -> dict[str, NDArray[Any]]:
    """Map the arrays of a file of safetensors: pages that are not read take no memory.

    Format: https://github.com/huggingface/safetensors#format. Its own reader copies.
    """
    try:
        content = map_file(path)
        start = 8 + int.from_bytes(content[:8].tobytes(), "little")
        entries = json.loads(content[8 : min(start, MAX_BYTES)].tobytes())
        entries.pop("__metadata__", None)
        return {term.name: _array(content[start:], entries, term) for term in manifest.frozen}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(
            f"{path.name}: expected the arrays of the manifest as safetensors, found damaged or other bytes; export "
            f"the bundle again"
        ) from error


def _array(content: NDArray[np.uint8], entries: Mapping[str, Any], term: ArrayTerm) -> NDArray[Any]:
    """View of one array; ValueError where the entry is another than the manifest's."""
    entry, dtype = entries[term.name], numpy_dtype(term.dtype)
    first, last = (int(offset) for offset in entry["data_offsets"])
    expected = (DTYPES[term.dtype], list(term.shape), math.prod(term.shape) * dtype.itemsize)
    if (entry["dtype"], entry["shape"], last - first) != expected or not 0 <= first <= last <= len(content):
        raise ValueError(term.name)
    array: NDArray[Any] = content[first:last].view(dtype).reshape(term.shape)
    return array
