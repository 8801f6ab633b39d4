"""The scores of a language model in an export: which array makes them, and the graph of one slice of the vocabulary.

`N` counted positions, `D` features, `S` tokens of a slice.
"""

from torch import Tensor

from heron.arrays import dtype_name
from heron.client.onnx_runtime.manifest import OPSET
from heron.errors import BundleError, MissingExtraError
from heron.export.passes import ClientPasses
from heron.lm.layers import TokenEmbedding
from heron.split import TokenLogits, token_cross_entropy
from heron.split.criterion import Criterion

_KINDS = {"float32": "float", "bfloat16": "bfloat16", "float16": "float16"}
"""Element types of tables, and ONNX's names of them."""


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
    """Write the graph of one slice of the vocabulary: largest score, sum of exponentials, and the label's own score.

    It is written by hand, because the choice of its operators is its speed: `LogSoftmax` sums exponentials in one pass
    over the scores, where `Exp` and `ReduceSum` would write and read them once more. Of its outputs the one closest to
    0, that of the largest score, is minus the logarithm of the sum relative to that score.

    Args:
        unembedding: one row per token; widened slice by slice where it is narrow.

    Raises:
        BundleError: if it has another element type than those of a base.
        MissingExtraError: if the exporter is not installed.
    """
    try:
        from onnx import parser
    except ImportError as error:
        raise MissingExtraError("onnx", "export") from error
    kind = _KINDS.get(dtype_name(unembedding))
    if kind is None:
        raise BundleError(
            f"expected scores from {', '.join(_KINDS)}, found {dtype_name(unembedding)}; convert the table"
        )
    num_features, wide = unembedding.shape[1], "rows" if kind == "float" else "wide"
    model = parser.parse_model(
        f"""
        <ir_version: 10, opset_import: ["" : {OPSET}]>
        slice (float[N,{num_features}] hidden, {kind}[S,{num_features}] rows, int64[N] places)
            => (float[N] largest, float[N] closest, float[N] own)
        {{
            {"" if wide == "rows" else "wide = Cast <to=1> (rows)"}
            scores = Gemm <transB=1> (hidden, {wide})
            last = Constant <value_ints=[1]> ()
            largest = ReduceMax <keepdims=0> (scores, last)
            logarithms = LogSoftmax <axis=1> (scores)
            closest = ReduceMax <keepdims=0> (logarithms, last)
            columns = Unsqueeze (places, last)
            found = GatherElements <axis=1> (scores, columns)
            own = Squeeze (found, last)
        }}
        """
    )
    content: bytes = model.SerializeToString(deterministic=True)
    return content
