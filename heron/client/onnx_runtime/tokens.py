"""Checks of sequences of tokens, which a graph would take for others."""

from typing import Any

from numpy.typing import NDArray

from heron.client.onnx_runtime.manifest import Manifest
from heron.errors import DataError


def check_tokens(manifest: Manifest, inputs: NDArray[Any]) -> None:
    """Refuse sequences that are too long, and tokens that the embedding lacks; inputs of other kinds pass.

    Args:
        manifest: of the bundle.
        inputs: shape (B, T).

    Raises:
        DataError: naming shape or tokens.
    """
    longest = manifest.longest
    if longest is None:
        return
    if inputs.ndim != 2 or not 1 <= inputs.shape[1] <= longest:
        raise DataError(
            f"expected sequences of at most {longest} tokens, shape (B, T), found shape {inputs.shape}: the model "
            f"has no more positions; make them shorter"
        )
    num_tokens = next((term.shape[0] for term in manifest.frozen if term.name == manifest.embedding), None)
    if inputs.min() < 0 or (num_tokens is not None and inputs.max() >= num_tokens):
        # A graph counts negative ones from the table's end.
        expected = "of at least 0" if num_tokens is None else f"in [0, {num_tokens})"
        raise DataError(f"expected tokens {expected}, found {inputs.min()} to {inputs.max()}; check the tokenizer")
