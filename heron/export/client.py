"""Export of a client: its graphs, its frozen arrays, its manifest, checked against PyTorch before anything is kept."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from heron import __version__
from heron.algorithms import ALGORITHMS
from heron.arrays import dtype_name, to_host
from heron.client.onnx_runtime.bundle import Bundle, check_terms
from heron.client.onnx_runtime.manifest import (
    CLEAN,
    FROZEN,
    MANIFEST,
    OPSET,
    PROBE,
    SLICE,
    TERMS,
    VERSION,
    ArrayTerm,
    BundleFile,
    FileName,
    Manifest,
    Statistics,
    encode_manifest,
)
from heron.client.torch_runtime.network import Parts
from heron.data import Batch, Pixels
from heron.export.batch_norm import is_batch_norm
from heron.export.check import check_export
from heron.export.onnx import looks_up, to_onnx
from heron.export.passes import ClientPasses
from heron.export.refusals import check_exportable, check_weights
from heron.export.scores import embedding_of, longest_of, slice_graph, unembedding_of
from heron.files import write_atomically
from heron.split import persistent_buffers
from heron.split.criterion import Criterion, MeanLoss, takes_classes
from heron.tensors import as_tensor
from heron.wire.blob import save_arrays
from heron.wire.terms import Terms, decode_terms, encode_terms


def export_client(
    split: Parts,
    terms: Terms,
    example: Batch,
    folder: str | os.PathLike[str],
    *,
    criterion: Criterion = cross_entropy,
    pixels: Pixels | None = None,
) -> Manifest:
    """Write a client's bundle: what a device needs to train it without PyTorch.

    Args:
        split: the cut network, or a client's parts of it; stays as it is.
        terms: of the run.
        example: at least two examples.
        folder: where the bundle goes; made if absent.
        criterion: mean loss over a batch.
        pixels: scaling of inputs that are pixels, for files of examples on devices; None for other inputs.

    Returns:
        The manifest.

    Raises:
        BundleError: if the client cannot be exported, naming what stands in the way, or computes something else than
            in PyTorch.
        SplitError: if it has no such order boundary.
        MessageError: if the terms are not what a device could read.
        MissingExtraError: if the exporter or onnxruntime is not installed.
        CheckpointError: if the folder cannot be written.
    """
    bundle, contents = make_bundle(split, terms, example, criterion=criterion, pixels=pixels)
    for name, content in contents.items():
        write_atomically(Path(folder) / name, content)
    write_atomically(Path(folder) / MANIFEST, encode_manifest(bundle.manifest))
    return bundle.manifest


def make_bundle(
    split: Parts,
    terms: Terms,
    example: Batch,
    *,
    criterion: Criterion = cross_entropy,
    pixels: Pixels | None = None,
) -> tuple[Bundle, dict[FileName, bytes]]:
    """Export a client to memory. Arguments as of `export_client`.

    Returns:
        The bundle, checked, and the contents of its files by name, the manifest left out.
    """
    algorithm = ALGORITHMS[terms.algorithm]
    learning = algorithm.learning(terms.settings)
    parts = nn.ModuleDict({"client": split.client} | _head(split, algorithm.head))
    check_exportable(parts, terms)
    passes = ClientPasses(split, criterion, algorithm.head, algorithm.orders(learning))
    batch = Batch(as_tensor(example.inputs).cpu(), as_tensor(example.labels).cpu())
    arrays = passes.arrays()
    check_weights(criterion, as_tensor(batch.labels))
    longest, unembedding = longest_of(passes), unembedding_of(passes, as_tensor(batch.inputs), criterion)
    is_linear = not _statistics(parts) and passes.has_linear_head(as_tensor(batch.inputs), as_tensor(batch.labels))
    has_head, is_text = algorithm.head is not None, longest is not None
    has_classes = takes_classes(criterion) or _refuses_negative(passes, batch)
    contents = _graphs(passes, batch, arrays, unembedding, has_head=has_head, is_text=is_text)
    contents[TERMS], embedding = encode_terms(terms), _table(passes, contents)
    buffers = persistent_buffers(parts)
    learns = {*passes.probed, *passes.trained, *buffers}
    frozen = {name: to_host(tensor) for name, tensor in arrays.items() if name not in learns}
    decode_terms(contents[TERMS])  # a device will
    if frozen:
        contents[FROZEN] = save_arrays(frozen)
    manifest = Manifest(
        version=VERSION,
        opset=OPSET,
        made_with=f"heron {__version__}, torch {torch.__version__}",
        algorithm=terms.algorithm,
        exact=learning.client.exact,  # type: ignore[arg-type]  # one boundary, where terms are of all clients
        probed=tuple(_term(name, arrays[name]) for name in passes.probed),
        trained=tuple(_term(name, arrays[name]) for name in passes.trained),
        buffers=tuple(_term(name, tensor) for name, tensor in buffers.items()),
        frozen=tuple(ArrayTerm(name, array.shape, dtype_name(array)) for name, array in frozen.items()),
        statistics=tuple(_statistics(parts)),
        inputs=_term("inputs", as_tensor(batch.inputs)[0]),
        upload=terms.upload,
        has_loss=has_head,
        linear_head=is_linear,
        ignored=MeanLoss(criterion).ignored,
        has_classes=has_classes,
        unembedding=unembedding,
        embedding=embedding,
        pixels=pixels,
        longest=longest,
        files=_files(contents),
    )
    graphs: dict[str, bytes] = {name: content for name, content in contents.items() if name in {CLEAN, PROBE, SLICE}}
    check_terms(manifest, terms)
    bundle = Bundle(manifest, terms, graphs, frozen)
    check_export(bundle, split, terms, batch, criterion)
    return bundle, contents


def _files(contents: Mapping[FileName, bytes]) -> tuple[BundleFile, ...]:
    return tuple(
        BundleFile(name, len(content), hashlib.blake2b(content, digest_size=32).hexdigest())
        for name, content in contents.items()
    )


def _refuses_negative(passes: ClientPasses, batch: Batch) -> bool:
    """Return whether the loss cannot be had for labels of -1, as with a cross-entropy inside an own criterion."""
    labels = as_tensor(batch.labels)
    if labels.is_floating_point() or labels.dtype == torch.bool:
        return False
    try:
        passes.clean(as_tensor(batch.inputs), torch.full_like(labels, -1), passes.arrays())
    except (IndexError, RuntimeError):
        return True
    return False


def _table(passes: ClientPasses, graphs: Mapping[FileName, bytes]) -> str | None:
    """The embedding, if tokens are nothing but places in it."""
    name = embedding_of(passes)
    return name if name and all(looks_up(content, name, "inputs") for content in graphs.values()) else None


def _graphs(
    passes: ClientPasses,
    batch: Batch,
    arrays: dict[str, Tensor],
    unembedding: str | None,
    *,
    has_head: bool,
    is_text: bool,
) -> dict[FileName, bytes]:
    """The clean graph, that of probes below an order boundary, and that of a slice of the vocabulary."""
    has_loss = has_head and unembedding is None
    inputs, labels = as_tensor(batch.inputs), as_tensor(batch.labels)
    first = {"inputs": inputs} | ({"labels": labels} if has_loss else {})
    free: dict[str, tuple[int, ...]] = {
        name: (0, 1) if is_text and tensor.ndim > 1 else (0,) for name, tensor in first.items()
    }
    embedding = embedding_of(passes)
    rows: Mapping[str, tuple[int, ...]] = {} if embedding is None else {embedding: (0,)}
    names = [*passes.clean(inputs, labels if has_loss else None, arrays)]

    def clean(*tensors: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip([*first, *arrays], tensors, strict=True))
        outputs = passes.clean(given["inputs"], given.get("labels"), {name: given[name] for name in arrays})
        return tuple(outputs[name] for name in names)

    def probe(*tensors: Tensor) -> tuple[Tensor, ...]:
        outputs = passes.probe(tensors[0], dict(zip(arrays, tensors[1:], strict=True)))
        return tuple(outputs.values())

    graphs: dict[FileName, bytes] = {
        CLEAN: to_onnx(clean, first | arrays, names, free={**free, **rows}, differentiates=bool(passes.trained))
    }
    if passes.has_boundary and passes.probed:
        below = {"inputs": inputs} | arrays
        graphs[PROBE] = to_onnx(probe, below, ["edge"], free={"inputs": free["inputs"], **rows}, differentiates=False)
    if unembedding is not None:
        graphs[SLICE] = slice_graph(arrays[unembedding])
    return graphs


def _head(split: Parts, head: str | None) -> dict[str, nn.Module]:
    return {head: getattr(split, head)} if head else {}


def _term(name: str, tensor: Tensor) -> ArrayTerm:
    return ArrayTerm(name, tuple(tensor.shape), dtype_name(tensor))


def _statistics(parts: nn.ModuleDict) -> list[Statistics]:
    return [
        Statistics(name, layer.momentum)
        for name, layer in parts.named_modules()
        if is_batch_norm(layer) and layer.track_running_stats
    ]
