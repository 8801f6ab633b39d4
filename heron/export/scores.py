"""The scores of a language model in an export: which array makes them, and the graph of one slice of the vocabulary.

`N` counted positions, `D` features, `S` tokens of a slice.
"""

import torch
from torch import Tensor

from heron.errors import BundleError
from heron.export.onnx import to_onnx
from heron.export.passes import ClientPasses
from heron.lm.layers import TokenEmbedding
from heron.split import TokenLogits, token_cross_entropy
from heron.split.criterion import Criterion


def unembedding_of(passes: ClientPasses, inputs: Tensor, criterion: Criterion) -> str | None:
    """Return the name of the array that a client's scores are products with; None where its head returns them whole.

    Args:
        passes: of the client.
        inputs: a few examples.
        criterion: mean loss over a batch.

    Raises:
        BundleError: if the client is a language model that cannot be exported.
    """
    outputs = passes.outputs(inputs)
    if not isinstance(outputs, TokenLogits):
        return None
    if criterion is not token_cross_entropy:
        raise BundleError(
            "expected the criterion heron.split.token_cross_entropy for an exported language model, found another; "
            "use it"
        )
    if passes.trained:
        raise BundleError(
            "expected an exported language model to learn from probes alone, found exact gradients; set "
            "client.exact=0, or keep client.runtime=torch"
        )
    found = passes.name_of(outputs.unembedding_VD)
    if found is None:
        raise BundleError(
            "expected a head whose unembedding is one of its parameters, found a matrix that is computed; return the "
            "parameter itself"
        )
    return found


def longest_of(passes: ClientPasses) -> int | None:
    """Return the largest number of positions of sequences of tokens; None where inputs are something else."""
    return min((layer.num_positions for layer in _embeddings(passes)), default=None)


def embedding_of(passes: ClientPasses) -> str | None:
    """Return the name of the table whose rows stand for tokens; None where there is none, or where it learns."""
    for layer in _embeddings(passes):
        if not layer.tokens.weight.requires_grad:
            return passes.name_of(layer.tokens.weight)
    return None


def _embeddings(passes: ClientPasses) -> list[TokenEmbedding]:
    return [layer for layer in passes.module["client"].modules() if isinstance(layer, TokenEmbedding)]


def slice_graph(unembedding: Tensor) -> bytes:
    """Export one step of the online log-sum-exp, over a slice of the vocabulary.

    Args:
        unembedding: one row per token; widened slice by slice where it is narrow.
    """
    rows_SD = unembedding[:3].detach()
    inputs = {
        "hidden": torch.zeros(rows_SD.shape[1], 2),
        "rows": rows_SD,
        "labels": torch.zeros(2, dtype=torch.int64),
        "largest": torch.zeros(2),
        "total": torch.zeros(2),
        "own": torch.zeros(2),
    }
    outputs = ["next_largest", "next_total", "next_own"]
    free = dict.fromkeys(inputs, (0,)) | {"hidden": (1,)}
    return to_onnx(_slice, inputs, outputs, free=free, differentiates=False)


def _slice(
    hidden_DN: Tensor, rows_SD: Tensor, labels_N: Tensor, largest_N: Tensor, total_N: Tensor, own_N: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Carry largest score, sum of exponentials relative to it, and the label's own score on by a slice."""
    # In this order the larger factor is read as it is; the other way, a product would first copy it.
    scores_SN = rows_SD.to(hidden_DN.dtype) @ hidden_DN
    next_N = torch.maximum(largest_N, scores_SN.amax(0))
    total_N = total_N * (largest_N - next_N).exp() + (scores_SN - next_N).exp().sum(0)
    size = rows_SD.shape[0]
    inside_N = (labels_N >= 0) & (labels_N < size)
    found_N = scores_SN.gather(0, labels_N.clamp(0, size - 1)[None]).squeeze(0)
    return next_N, total_N, torch.where(inside_N, found_N, own_N)
