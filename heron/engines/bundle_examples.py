"""Examples of a device, in the form that the client of its bundle takes."""

from pathlib import Path

from heron.arrays import numpy_dtype, to_host
from heron.client.onnx_runtime.manifest import Manifest
from heron.data.arrays_file import ArrayExamples
from heron.data.batch import Batch
from heron.data.example_files import load_examples
from heron.data.example_rows import ExampleForm
from heron.errors import DataError


def read_examples(path: Path, manifest: Manifest) -> ArrayExamples:
    """Read a file of examples for the client of a bundle.

    Args:
        path: the file.
        manifest: of the bundle.

    Raises:
        DataError: if it cannot be read, or holds no such examples.
        MissingExtraError: if a parquet file is read without the library for it.
    """
    upload, inputs, is_text = manifest.upload, manifest.inputs, manifest.longest is not None
    form = ExampleForm(inputs.shape, inputs.dtype, upload.labels, upload.labels_dtype, is_text, manifest.pixels)
    return load_examples(path, form)


def check_examples(manifest: Manifest, batch: Batch) -> None:
    """Refuse examples that a client's graphs were not made for.

    Args:
        manifest: of the bundle.
        batch: some of them.

    Raises:
        DataError: naming shape or element type.
    """
    upload = manifest.upload
    for what, array, shape, dtype in (
        ("inputs", to_host(batch.inputs), manifest.inputs.shape, manifest.inputs.dtype),
        ("labels", to_host(batch.labels), upload.labels, upload.labels_dtype),
    ):
        # The length of sequences is free; the runtime knows the longest.
        free = 1 if manifest.longest is not None and array.ndim > 1 and shape else 0
        if array.shape[1 + free :] != shape[free:] or array.dtype.kind != numpy_dtype(dtype).kind:
            sizes = [*(["T"] if free else []), *map(str, shape[free:])]
            raise DataError(
                f"expected {what} of shape (n, {', '.join(sizes)}) and {dtype}, found "
                f"(n, {', '.join(map(str, array.shape[1:]))}) and {array.dtype}; convert them as for training"
            )
