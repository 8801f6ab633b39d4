"""The manifest of a client's bundle: its arrays, its files with their digests, and the versions that it needs.

A manifest is a stranger's until it has been read: its size is bounded, every key is checked, and no name leaves the
bundle's folder.
"""

import json
import re
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

from annotated_types import Ge, Lt

from heron.data.pixels import Pixels
from heron.errors import BundleError, MessageError
from heron.wire.blob import DTYPES
from heron.wire.plain import from_plain, to_plain
from heron.wire.terms import Size, UploadTerm

VERSION = 3
"""Version of the bundle's format."""
OPSET = 20
"""Version of the standard operators that the graphs use."""
MAX_BYTES = 1 << 22
"""Largest manifest that is read."""
MANIFEST = "manifest.json"
CLEAN: Final = "clean.onnx"
PROBE: Final = "probe.onnx"
SLICE: Final = "slice.onnx"
TERMS: Final = "terms.json"
FROZEN: Final = "frozen.safetensors"
_MAX_DIMENSIONS = 8
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class ArrayTerm:
    """One array of a graph.

    Attributes:
        name: its name on all sides, e.g. `client.conv1.weight`.
        shape: its sizes.
        dtype: its element type, e.g. `float32`.
    """

    name: str
    shape: tuple[Size, ...]
    dtype: str


@dataclass(frozen=True)
class Statistics:
    """Running statistics of one BatchNorm layer, which follow the clean pass.

    Attributes:
        layer: name of the layer; its buffers are `layer.running_mean`, `layer.running_var` and
            `layer.num_batches_tracked`.
        momentum: share of the newest batch, in [0, 1]; None for the mean of all batches.
    """

    layer: str
    momentum: Annotated[float, Ge(0), Lt(1.0000001)] | None


FileName = Literal["clean.onnx", "probe.onnx", "slice.onnx", "frozen.safetensors", "terms.json"]


@dataclass(frozen=True)
class BundleFile:
    """One file of a bundle.

    Attributes:
        name: its name in the folder; one of five, so that it cannot be a path.
        size: bytes.
        digest: BLAKE2b of 32 bytes, hexadecimal.
    """

    name: FileName
    size: Size
    digest: str


@dataclass(frozen=True)
class Manifest:
    """Everything that a client must know of its graphs.

    Attributes:
        version: of the format.
        opset: of the graphs' operators.
        made_with: versions of heron and torch, for a person.
        algorithm: key of `heron.algorithms.ALGORITHMS`.
        exact: modules that learn from exact gradients, counted from the client's end.
        probed: parameters that learn from probes, in the order of the flat vector.
        trained: parameters that learn from exact gradients.
        buffers: buffers that travel.
        frozen: arrays of `frozen.safetensors`, which never change.
        statistics: BatchNorm layers.
        inputs: one example's input, without the batch.
        upload: the form of smashed data and labels.
        has_loss: whether the clean graph computes a local loss.
        linear_head: whether exactly one linear layer under cross-entropy is trained, on the activations at the order
            boundary, and nothing mixes examples.
        ignored: label that does not count in it; None where all do.
        has_classes: whether integer labels are surely classes, as those of cross-entropy are.
        unembedding: array of one row per token, shape (V, D), whose products with hidden states are the scores of a
            language model, computed slice by slice; None where the clean graph computes the loss.
        embedding: array of one row per token, of which the graphs read the rows of the inputs' tokens and are given no
            others; None where inputs are no tokens.
        pixels: scaling of inputs that are pixels, for files of examples; None where it is not known.
        longest: most positions of a sequence of tokens, whose length is free; None where inputs have one shape.
        files: of the bundle, the manifest left out.
    """

    version: int
    opset: int
    made_with: str
    algorithm: str
    exact: Annotated[int, Ge(0), Lt(2**31)] | Literal["all"]
    probed: tuple[ArrayTerm, ...]
    trained: tuple[ArrayTerm, ...]
    buffers: tuple[ArrayTerm, ...]
    frozen: tuple[ArrayTerm, ...]
    statistics: tuple[Statistics, ...]
    inputs: ArrayTerm
    upload: UploadTerm
    has_loss: bool
    linear_head: bool
    ignored: int | None
    has_classes: bool
    unembedding: str | None
    embedding: str | None
    pixels: Pixels | None
    longest: Annotated[int, Ge(1), Lt(2**31)] | None
    files: tuple[BundleFile, ...]

    def has(self, name: str) -> bool:
        """Return whether the bundle contains a file."""
        return any(file.name == name for file in self.files)

    def with_files(self, files: tuple[BundleFile, ...]) -> "Manifest":
        """Return the manifest of these files."""
        return replace(self, files=files)


def encode_manifest(manifest: Manifest) -> bytes:
    """Write a manifest as JSON."""
    return json.dumps(to_plain(manifest), indent=1, allow_nan=False).encode() + b"\n"


def decode_manifest(content: bytes) -> Manifest:
    """Read a manifest.

    Args:
        content: what `encode_manifest` returned, or a stranger's.

    Raises:
        BundleError: if it is too large, damaged, of another version, or not a manifest.
    """
    if len(content) > MAX_BYTES:
        raise BundleError(f"expected a manifest of at most {MAX_BYTES} bytes, found {len(content)}; export it again")
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(
            "expected a manifest as JSON, found foreign or damaged bytes; export the bundle again"
        ) from error
    for key, known in (("version", VERSION), ("opset", OPSET)):
        found = values.get(key) if isinstance(values, dict) else None
        if found != known or type(found) is not int:
            raise BundleError(
                f"expected a bundle of {key} {known}, found {str(found)[:40]}; export it with this version of heron"
            )
    try:
        manifest = from_plain(Manifest, values, "manifest")
    except MessageError as error:
        raise BundleError(f"{str(error).partition(';')[0]}; export the bundle again") from error
    _check(manifest)
    return manifest


def _check(manifest: Manifest) -> None:
    """Refuse what no export writes."""
    arrays = [*manifest.probed, *manifest.trained, *manifest.buffers, *manifest.frozen]
    _once("arrays", [array.name for array in arrays])
    _once("files", [file.name for file in manifest.files])
    _once("statistics", [layer.layer for layer in manifest.statistics])
    for array in [*arrays, manifest.inputs]:
        _check_array(array, ("float32",) if array in (*manifest.probed, *manifest.trained) else tuple(DTYPES))
    held = {array.name: array.shape for array in manifest.buffers}
    for layer in manifest.statistics:
        shapes = {held.get(f"{layer.layer}.{kind}") for kind in ("running_mean", "running_var")}
        if None in shapes or len(shapes) != 1:
            raise BundleError(f"manifest: expected running statistics of {layer.layer[:80]!r} among its buffers")
    if manifest.pixels is not None and not manifest.pixels.fits(manifest.inputs.shape):
        raise BundleError("manifest: expected pixels with one mean and deviation or one a channel; export it again")
    if manifest.linear_head and [len(array.shape) for array in manifest.trained] not in ([2], [2, 1]):
        raise BundleError("manifest: expected the weight of a linear head first, then its bias; export it again")
    _check_tokens(manifest)
    _check_files(manifest)


def _check_array(array: ArrayTerm, dtypes: tuple[str, ...]) -> None:
    if array.dtype not in dtypes or len(array.shape) > _MAX_DIMENSIONS:
        raise BundleError(
            f"manifest: expected {array.name[:80]!r} of {' or '.join(dtypes)} and at most {_MAX_DIMENSIONS} "
            f"dimensions, found {array.dtype[:20]} of {len(array.shape)}; export the bundle again"
        )


def _check_tokens(manifest: Manifest) -> None:
    """Refuse scores of nothing, and sequences that are none."""
    name, inputs = manifest.unembedding, manifest.inputs
    if manifest.longest is not None and (len(inputs.shape) != 1 or inputs.dtype not in {"int64", "int32"}):
        raise BundleError("manifest: expected sequences of tokens where their length is free; export the bundle again")
    held = (*manifest.probed, *manifest.frozen)
    for what, table in (("embedding", manifest.embedding), ("unembedding", name)):
        if table is not None and not any(
            array.name == table and len(array.shape) == 2 and array.shape[0] for array in held
        ):
            raise BundleError(
                f"manifest: expected the {what} {table[:80]!r} among its matrices, found none; export the bundle again"
            )
    if manifest.embedding is not None and manifest.longest is None:
        raise BundleError("manifest: expected sequences of tokens where there is an embedding; export it again")
    if name is None:
        return
    if not manifest.has_loss or manifest.trained or manifest.ignored is None:
        raise BundleError(
            "manifest: expected a loss over the labels that count, and no exact gradients, where scores are computed "
            "slice by slice; export the bundle again"
        )


def _check_files(manifest: Manifest) -> None:
    for file in manifest.files:
        if not _DIGEST.fullmatch(file.digest):
            raise BundleError(f"manifest: expected a digest of 64 hexadecimal digits for {file.name}")
    if not manifest.has(CLEAN) or not manifest.has(TERMS) or manifest.has(FROZEN) != bool(manifest.frozen):
        raise BundleError(
            f"manifest: expected {CLEAN} and {TERMS}, and {FROZEN} where arrays are frozen; export the bundle again"
        )
    if manifest.trained and manifest.probed and not manifest.has(PROBE):
        raise BundleError(f"manifest: expected {PROBE} where probes are below an exact part; export the bundle again")
    if manifest.has(SLICE) != (manifest.unembedding is not None):
        raise BundleError(f"manifest: expected {SLICE} where there is an unembedding; export the bundle again")


def _once(what: str, names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise BundleError(f"manifest: expected every name of its {what} once, found one twice; export the bundle again")
